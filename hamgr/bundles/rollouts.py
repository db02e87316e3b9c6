"""Checks the strategies of a bundle: each for itself, and that names mean one of them.

Windows are held against a calendar that begins at `CALENDAR_FROM`, not now: a bundle is sound or not,
whenever it is pushed. What is a moment (`start_at`), or is to be accepted each time anew (`below_minimum`),
is for requests alone.
"""

from collections.abc import Iterator, Mapping

from hamgr.bundles.problems import Problem
from hamgr.bundles.schema import RoleModel
from hamgr.bundles.shape import did_you_mean, sound
from hamgr.bundles.strategy import StrategyModel, unkept
from hamgr.bundles.yaml import Document, Path
from statemachine import rollout
from statemachine.model import TASKS_MAX
from statemachine.rollouts.named import NONE
from statemachine.words import SHORT_NAME

CALENDAR_FROM = 1_767_225_600.0
"""2026-01-01."""
_NAME_HINT = "lower-case letters, digits, `-` and `_`, at most 24, first and last a letter or digit"


def problems(document: Document, roles: Mapping[str, RoleModel]) -> Iterator[Problem]:
    """Check `rollouts` and `default_rollouts` of `hamgr.yaml`, those of its sound roles included."""
    value = document.value if isinstance(document.value, dict) else {}
    listed = value.get("rollouts")
    strategies = listed if isinstance(listed, dict) else {}
    for name, written in strategies.items():
        yield from _named(document, name, written)
    general = value.get("default_rollouts")
    yield from _defaults(document, ("default_rollouts",), general, strategies)
    for role_name, role in roles.items():
        path: Path = ("roles", role_name, "default_rollouts")
        yield from _defaults(document, path, role.default_rollouts, strategies)


def _named(document: Document, name: str, written: object) -> Iterator[Problem]:
    path: Path = ("rollouts", name)
    if not SHORT_NAME.match(str(name)):
        yield document.problem(path, f"`{name}` is no name for a rollout", _NAME_HINT, at_key=True)
    if name == NONE:
        hint = f"jobs ask for `{NONE}` when they want no rollout of the bundle"
        yield document.problem(path, f"`{NONE}` has a meaning of its own", hint, at_key=True)
    model = sound(StrategyModel, written)
    if model is None:
        return  # the schema has complained
    for message in rollout.problems(model.rollout(), nodes=TASKS_MAX, max_parallel=0, max_failed=None):
        yield document.problem(path, message, at_key=True)
    for place, window in enumerate(model.windows):
        if wrong := unkept(window.window(), CALENDAR_FROM):
            yield document.problem((*path, "windows", place), f"window: {wrong}")


def _defaults(
    document: Document, path: Path, written: object, strategies: Mapping[str, object]
) -> Iterator[Problem]:
    for kind, name in written.items() if isinstance(written, dict) else ():
        if isinstance(name, str) and name != NONE and name not in strategies:
            hint = did_you_mean(name, [str(known) for known in strategies])
            yield document.problem((*path, str(kind)), f"there is no rollout `{name}`", hint)

"""Handlers: steps that run at the end of a component's verb when a step before them changed something.

1. A handler runs in the verbs in which some step names it in `notify`, after all steps, in the order in
   which the handlers are written.
2. Names that do not exist, and handlers that nobody notifies, are mistakes; so is notifying in verify,
   which changes nothing, and from a handler.
3. Handlers act: they restart services, run scripts or restart the machine.
"""

from collections.abc import Iterator, Mapping, Sequence

from hamgr.bundles.problems import Problem
from hamgr.bundles.schema import StepModel
from hamgr.bundles.shape import did_you_mean
from hamgr.bundles.yaml import Document, Path

SECTION = "handlers"
"""Where they are written in component.yaml."""
KINDS = ("service", "script", "reboot")


def notified(steps: Sequence[StepModel], handlers: Sequence[StepModel]) -> list[tuple[int, StepModel]]:
    """Return the handlers that `steps` may notify, with their places in the component's list."""
    named = {name for step in steps for name in step.notify}
    return [(index, handler) for index, handler in enumerate(handlers) if handler.name in named]


def problems(
    document: Document, steps: Mapping[str, Sequence[tuple[int, StepModel]]], verbs: Sequence[str]
) -> Iterator[Problem]:
    """Check the handlers of a component, and who notifies them.

    Args:
        steps: Those that have the right shape, by section, with their places.
    """
    # Names are taken from what is written, so that a fault in a step is not told a second time by others.
    handlers = set(_written(document, SECTION, "name"))
    named = {name for verb in verbs for name in _written(document, verb, "notify")}
    for verb in verbs:
        for index, step in steps[verb]:
            yield from _step(document, verb, (verb, index), step, handlers)
    for index, handler in steps[SECTION]:
        yield from _handler(document, (SECTION, index), handler, named)


def _step(
    document: Document, verb: str, path: Path, step: StepModel, handlers: set[str]
) -> Iterator[Problem]:
    if step.name in handlers:
        message = f"`{step.name}` is the name of a handler already"
        yield document.problem((*path, "name"), message, "give the step another name")
    if step.service is not None and step.service.state in ("restarted", "reloaded"):
        message = f"`{step.service.state}` is for handlers; a step says what holds afterwards"
        hint = "write `running` here, and a handler that the steps before it notify"
        yield document.problem((*path, "service", "state"), message, hint)
    if verb == "verify" and step.notify:
        message = "a step in verify changes nothing, so it notifies nobody"
        yield document.problem((*path, "notify"), message, "leave `notify` out", at_key=True)
    for place, name in enumerate(step.notify):
        if name not in handlers:
            hint = did_you_mean(name, handlers) or f"write it in `{SECTION}:`"
            yield document.problem((*path, "notify", place), f"there is no handler `{name}`", hint)


def _handler(document: Document, path: Path, handler: StepModel, named: set[str]) -> Iterator[Problem]:
    if not handler.given(*KINDS):
        message = f"handler `{handler.name}` is neither a service nor a script nor a reboot"
        yield document.problem((*path, "name"), message, "make it a step of the verb")
    elif handler.service is not None and handler.service.state == "running":
        message = f"handler `{handler.name}` would do nothing where the service runs already"
        yield document.problem((*path, "service", "state"), message, "write `restarted` or `reloaded`")
    if handler.notify:
        yield document.problem((*path, "notify"), "a handler notifies nobody", at_key=True)
    if handler.name not in named:
        message = f"nobody notifies handler `{handler.name}`"
        hint = f"add `notify: [{handler.name}]` to the steps after whose changes it is to run"
        yield document.problem((*path, "name"), message, hint)


def _written(document: Document, section: str, key: str) -> Iterator[str]:
    """Yield each text that is written under `key` in a step of a section, alone or in a list."""
    items = document.value.get(section) if isinstance(document.value, dict) else None
    for item in items if isinstance(items, list) else []:
        value = item.get(key) if isinstance(item, dict) else None
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield text

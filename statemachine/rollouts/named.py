"""Strategies that a bundle has names for: which one a job takes, and what the request says itself.

1. A job that names a strategy has that one; else it has the one that its nodes' role has for its kind, or
   the bundle. `none` is no strategy at all.
2. What the request says itself wins, field by field.
3. It is looked up once, when the job is taken up: a bundle that is pushed later changes no job.
"""

from collections.abc import Iterable

from statemachine.commands import SubmitJob
from statemachine.copying import replace
from statemachine.manifest import Manifest
from statemachine.model import Node, State
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Rejected
from statemachine.rollout import NamedRollout, Promotion, Rollout

NONE = "none"
FIELDS = {
    "canary": ("canary",),
    "promotion": ("promotion",),
    "max_parallel": ("max_parallel_percent",),
    "domain": ("domain",),
    "min_healthy": ("min_healthy_s",),
    "healthy_deadline": ("healthy_deadline_s",),
    "progress_deadline": ("progress_deadline_s",),
    "max_failed": ("max_failed_percent",),
    "on_failure": ("on_failure",),
    "below_minimum": ("below_minimum",),
    "windows": ("windows",),
    "start_at": ("start_at",),
}
"""What a request may say of a strategy, and where a `Rollout` has it."""
_EMPTY = Rollout()


def resolved(state: State, command: SubmitJob, nodes: Iterable[Node]) -> SubmitJob | Rejected:
    """Return `command` with the whole strategy of the job in it, or refuse a name that means nothing."""
    stored = state.bundles.get(command.bundle or state.current_bundle)
    manifest = stored.manifest if stored is not None else Manifest()
    if unknown := [name for name in command.said if name not in FIELDS]:
        return invalid(f"a strategy says nothing of {', '.join(unknown)[:64]}", *unknown)
    name = command.rollout.name or _default(manifest, command, nodes)
    if isinstance(name, Rejected):
        return name
    said = _said(command)
    if name in ("", NONE) or len(said) == len(FIELDS):
        return replace(command, rollout=replace(command.rollout, name="" if name == NONE else name))
    if name not in manifest.rollouts:
        known = ", ".join(sorted(manifest.rollouts))
        hint = f"take one of: {known}" if known else "it has none; give the flags, or a file"
        return invalid(f"the bundle has no rollout {name[:64]!r}", name[:64], hint=hint)
    return _merged(command, name, manifest.rollouts[name], said)


def _default(manifest: Manifest, command: SubmitJob, nodes: Iterable[Node]) -> str | Rejected:
    """Return the strategy that nodes have without being asked; empty when they have none."""
    general = manifest.default_rollouts.get(command.kind, "")
    found: dict[str, str] = {}
    for role in dict.fromkeys(command.role or node.role for node in nodes):
        spec = manifest.roles.get(role)
        found.setdefault(spec.default_rollouts.get(command.kind, general) if spec else general, role)
    if len(found) < 2:
        return next(iter(found), "")
    told = ", ".join(f"{role or 'no role'}: {name or NONE}" for name, role in found.items())
    return invalid(
        f"the nodes have rollouts of their own, and not the same ({told})",
        hint="say which one: --rollout NAME, or take one role after the other",
    )


def _said(command: SubmitJob) -> set[str]:
    """Return what the request says itself: what it lists, and what is not as in one that says nothing."""
    said = {
        name
        for name, fields in FIELDS.items()
        if any(getattr(command.rollout, field) != getattr(_EMPTY, field) for field in fields)
    }
    numbers = {"max_parallel": bool(command.max_parallel), "max_failed": command.max_failed is not None}
    return said | {name for name, given in numbers.items() if given} | set(command.said)


def _merged(command: SubmitJob, name: str, base: NamedRollout, said: set[str]) -> SubmitJob:
    own = {
        field: getattr(command.rollout, field)
        for key, fields in FIELDS.items()
        if key in said
        for field in fields
    }
    rollout = replace(base.rollout, name=name, **own)
    if "canary" in said and not rollout.canary and "promotion" not in said:
        rollout = replace(rollout, promotion=Promotion.AUTOMATIC)  # there is nothing left to promote
    return replace(
        command,
        rollout=rollout,
        max_parallel=command.max_parallel if "max_parallel" in said else base.max_parallel,
        max_failed=command.max_failed if "max_failed" in said else base.max_failed,
        said=tuple(FIELDS),
    )

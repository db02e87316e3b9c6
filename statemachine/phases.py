"""Which steps a task has: a pure function of the job, the node and the bundles.

commission    WORK commission verbs, VERIFY; after a failure UNDO the cleanup verbs, last component first
upgrade       WORK upgrade verbs, VERIFY; after a failure UNDO with the upgrade verbs of the last good
              bundle, REVERIFY with its verify verbs
verify        VERIFY against the bundle that the node is configured with
decommission  WORK cleanup verbs, last component first
drain         WORK drain verbs, last component first; after a failure UNDO the undrain verbs
undrain       WORK undrain verbs, VERIFY
replace       as commission (or upgrade) on the new node, then as decommission on the old one

Where the strategy wants nodes to be healthy for a while, SOAK proves them once more after VERIFY.
A handler is a step that is owed only when a step before it has notified it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from statemachine.manifest import Manifest, RoleSpec, StepSpec
from statemachine.model import Job, Node, State, Task
from statemachine.words import Digest, JobKind, NodeName, Phase, Value, Verb

PROOFS = frozenset({Phase.VERIFY, Phase.SOAK, Phase.REVERIFY})
"""Phases that look and change nothing."""
PHASES: dict[JobKind, tuple[Phase, ...]] = {
    JobKind.COMMISSION: (Phase.WORK, Phase.VERIFY),
    JobKind.UPGRADE: (Phase.WORK, Phase.VERIFY),
    JobKind.VERIFY: (Phase.VERIFY,),
    JobKind.DECOMMISSION: (Phase.WORK,),
    JobKind.DRAIN: (Phase.WORK,),
    JobKind.UNDRAIN: (Phase.WORK, Phase.VERIFY),
    JobKind.REPLACE: (Phase.WORK, Phase.VERIFY),
    JobKind.DISCOVER: (),
}
"""The way to success, but for `SOAK` (see `way`)."""
UNDO_PHASES: dict[JobKind, tuple[Phase, ...]] = {
    JobKind.COMMISSION: (Phase.UNDO,),
    JobKind.UPGRADE: (Phase.UNDO, Phase.REVERIFY),
    JobKind.VERIFY: (),
    JobKind.DECOMMISSION: (),
    JobKind.DRAIN: (Phase.UNDO,),
    JobKind.UNDRAIN: (),
    JobKind.REPLACE: (Phase.UNDO, Phase.REVERIFY),
    JobKind.DISCOVER: (),
}
"""The way back after a failure; empty where there is none."""
KEEP_BUNDLE = frozenset({JobKind.VERIFY, JobKind.DECOMMISSION, JobKind.DRAIN, JobKind.UNDRAIN})
"""Jobs that go by the bundle that each node has."""
KEEP_STATUS = frozenset({JobKind.VERIFY, JobKind.DRAIN, JobKind.UNDRAIN})
"""Jobs that leave a node's status as it is, however they end."""
_BACKWARDS = frozenset({Verb.CLEANUP, Verb.DRAIN})
"""Verbs that take away what others built, so they go from the last component to the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of one phase.

    Attributes:
        key: Its name on the node and in results, unique within the task.
        place: Its place among the steps of its phase, from 0.
        bundle: Where its body is.
    """

    key: str
    place: int
    phase: Phase
    bundle: Digest
    component: str
    verb: Verb
    spec: StepSpec


def kind_of(job: Job, name: NodeName) -> JobKind:
    """Return what `job` does on the node `name`."""
    task = job.tasks.get(name)
    return job.kind if task is None or task.kind is None else task.kind


def name_on(job: Job, name: NodeName) -> NodeName:
    """Return the name by which `job` configures the node `name`: that of the one in whose place it comes."""
    return job.replaces if job.replaces and name == next(iter(job.tasks)) else name


def way(job: Job, kind: JobKind | None = None) -> tuple[Phase, ...]:
    """Return the phases of `job` on its way to success, on a node for which it is of `kind`."""
    kind = kind or job.kind
    phases = PHASES[kind]
    soaks = job.rollout.min_healthy_s > 0 and kind in (JobKind.COMMISSION, JobKind.UPGRADE)
    return (*phases, Phase.SOAK) if soaks else phases


def wanted_bundle(job: Job, task: Task | None) -> Digest:
    """Return the bundle that `job` is to bring a node to; empty where each node has its own."""
    return task.bundle if task is not None and task.bundle else job.bundle


def request_of(job: Job, name: NodeName) -> Mapping[str, Value]:
    """Return the request's layer of variables on the node `name`."""
    task = job.tasks.get(name)
    return job.variables if task is None or task.variables is None else task.variables


def requests_in(job: Job, node: Node, phase: Phase) -> tuple[tuple[str, Mapping[str, Value]], ...]:
    """Return the layers of the requests in `phase`, lowest first, with their names.

    What is put back is put back as it was asked for. What goes by the bundle that a node has goes by the
    variables that were asked for with it, too; the request itself may change single ones.
    """
    kind = kind_of(job, node.name)
    if kind is JobKind.UPGRADE and phase in (Phase.UNDO, Phase.REVERIFY):
        return (("request", node.last_request),)
    request = ("request", request_of(job, node.name))
    if kind in KEEP_BUNDLE:
        return (("last request", node.last_request), request)
    return (request,)


def role_of(job: Job, node: Node) -> str:
    """Return the role that `job` configures `node` for."""
    return job.role or node.role if kind_of(job, node.name) is JobKind.COMMISSION else node.role


def bundle_of(job: Job, node: Node, phase: Phase) -> Digest:
    """Return the bundle whose verbs run in `phase`."""
    kind = kind_of(job, node.name)
    if kind in KEEP_BUNDLE:
        return node.bundle
    if kind is JobKind.UPGRADE and phase in (Phase.UNDO, Phase.REVERIFY):
        return node.last_good
    return wanted_bundle(job, job.tasks.get(node.name))


def _verb(kind: JobKind, phase: Phase) -> Verb:
    if phase in PROOFS:
        return Verb.VERIFY
    if kind is JobKind.UPGRADE:
        return Verb.UPGRADE
    if kind is JobKind.DRAIN:
        return Verb.UNDRAIN if phase is Phase.UNDO else Verb.DRAIN
    if kind is JobKind.UNDRAIN:
        return Verb.UNDRAIN
    if kind is JobKind.DECOMMISSION or phase is Phase.UNDO:
        return Verb.CLEANUP
    return Verb.COMMISSION


def steps(state: State, job: Job, node: Node, phase: Phase) -> tuple[PlannedStep, ...]:
    """Return the steps of `phase` of `job` on `node`, in order; empty when the phase has none."""
    found = _content(state, job, node, phase)
    if found is None:
        return ()
    manifest, digest, role = found
    return role_steps(manifest, digest, role, _verb(kind_of(job, node.name), phase), phase)


def _content(state: State, job: Job, node: Node, phase: Phase) -> tuple[Manifest, Digest, RoleSpec] | None:
    """Return what `phase` runs: manifest, bundle and role; None when there is no such thing."""
    kind = kind_of(job, node.name)
    if phase not in way(job, kind) and phase not in UNDO_PHASES[kind]:
        return None
    digest = bundle_of(job, node, phase)
    bundle = state.bundles.get(digest)
    role = bundle.manifest.roles.get(role_of(job, node)) if bundle else None
    return None if bundle is None or role is None else (bundle.manifest, digest, role)


def role_steps(
    manifest: Manifest, digest: Digest, role: RoleSpec, verb: Verb, phase: Phase
) -> tuple[PlannedStep, ...]:
    """Return the steps of `verb` of all components of `role`; what takes away goes backwards."""
    specs = _specs(manifest, role, verb)
    return tuple(
        _planned(digest, verb, phase, place, component, spec) for place, (component, spec) in enumerate(specs)
    )


def _specs(manifest: Manifest, role: RoleSpec, verb: Verb) -> Iterator[tuple[str, StepSpec]]:
    names = tuple(reversed(role.components)) if verb in _BACKWARDS else role.components
    for component in names:
        for spec in manifest.components[component].verbs.get(verb, ()):
            yield component, spec


def _planned(
    digest: Digest, verb: Verb, phase: Phase, place: int, component: str, spec: StepSpec
) -> PlannedStep:
    key = f"{phase}.{place:02d}.{component}.{spec.name}"
    return PlannedStep(
        key=key, place=place, phase=phase, bundle=digest, component=component, verb=verb, spec=spec
    )


def owed_step(state: State, job: Job, task: Task) -> PlannedStep | None:
    """Return the step that `task` owes next, past handlers that nobody notified; None when there is none."""
    node = state.nodes.get(task.node)
    if node is None:
        return None
    found = _content(state, job, node, task.phase)
    if found is None:
        return None
    manifest, digest, role = found
    verb = _verb(kind_of(job, task.node), task.phase)
    for place, (component, spec) in islice(enumerate(_specs(manifest, role, verb)), task.cursor, None):
        if not spec.handler or handler_key(component, spec.name) in task.notified:
            return _planned(digest, verb, task.phase, place, component, spec)
    return None


def handler_key(component: str, handler: str) -> str:
    """Return how a task remembers that a handler was notified."""
    return f"{component}/{handler}"


def result_key(step: PlannedStep, task: Task) -> str:
    """Return the name under which the owed attempt runs: the step, or the check of a lost attempt."""
    return f"{step.key}.check" if task.checking else step.key

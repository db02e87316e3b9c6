"""Which values are secret on a node: those of the variables that a bundle names in its `secrets`.

1. A name is that of a variable, or the path to one with dots; of a map or a list, all values below it are
   secret.
2. The values count as the job resolves them on the node, under every bundle that may run there: the job's,
   the node's own, and the one that it goes back to.
3. Numbers are secret as they are printed; what is shorter than `SECRET_BYTES_MIN` bytes cannot be hidden.
"""

from collections.abc import Iterator, Mapping

from hamgr.logs.masking import Mask
from statemachine.model import Job, Node, State
from statemachine.nodes import takeover, variables
from statemachine.words import Digest, JobId, NodeName, Phase, Value

MASKS_MAX = 4096
NOTHING = Mask(())


def secret_values(state: State, node: Node, job: Job | None) -> frozenset[str]:
    """Return what must not be shown of `job`'s work on `node`; None for no particular job."""
    found: set[str] = set()
    for digest in _bundles(state, node, job):
        bundle = state.bundles.get(digest)
        if bundle is None or not bundle.manifest.secrets:
            continue
        roles = {node.role, job.role} if job is not None else {node.role}
        for role in roles:
            for phase in (Phase.WORK, Phase.UNDO):
                layers = (
                    variables.layers(state, node, digest, role=role, job=job, phase=phase)
                    if job is not None
                    else variables.standing(state, node, digest, role=role)
                )
                resolved = variables.resolve(layers)
                for name in bundle.manifest.secrets:
                    found.update(_leaves(_at(resolved, name)))
    return frozenset(found)


def _bundles(state: State, node: Node, job: Job | None) -> frozenset[Digest]:
    digests = {node.bundle, node.last_good}
    if job is None:
        digests.add(state.current_bundle)
    else:
        task = job.tasks.get(node.name)
        digests |= {job.bundle} | ({task.bundle, task.bundle_before} if task is not None else set())
    return frozenset(digests)


def _at(values: Mapping[str, Value], name: str) -> Value:
    if name in values:
        return values[name]
    found: Value = dict(values)
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _leaves(value: Value) -> Iterator[str]:
    if isinstance(value, dict):
        for below in value.values():
            yield from _leaves(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _leaves(below)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


class Masks:
    """The masks of nodes, remembered for as long as what they are made of is the same.

    A value that a job had once stays hidden in its output after the variable was changed, on the replica
    that knew it: what runs still prints the old one.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[NodeName, JobId], tuple[tuple[object, ...], frozenset[str], Mask]] = {}

    def of(self, state: State, name: NodeName, job_id: JobId) -> Mask:
        """Return what hides the secrets of a job's work on a node; `job_id` is empty for no job."""
        job = state.jobs.get(job_id)
        node = takeover.whereabouts(state, job, name)
        key = (name, job_id)
        kept = self._kept.get(key)
        if kept is None and not any(bundle.manifest.secrets for bundle in state.bundles.values()):
            return NOTHING
        if node is None:
            return kept[2] if kept is not None else NOTHING
        task = job.tasks.get(name) if job is not None else None
        made_of = (
            *(node.variables, node.last_request, node.bundle, node.last_good, node.role),
            *(state.globals_index, state.current_bundle, len(state.bundles)),
            *((task.bundle, task.bundle_before) if task is not None else ()),
        )
        if kept is not None and kept[0] == made_of:
            return kept[2]
        values = secret_values(state, node, job) | (kept[1] if kept is not None else frozenset())
        mask = Mask(values) if values else NOTHING
        if len(self._kept) >= MASKS_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (made_of, values, mask)
        return mask

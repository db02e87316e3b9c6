"""How one machine takes another one's place: what is kept for it meanwhile, and when the name moves.

1. From the first touch to the end of the job no other job begins anything on the two nodes.
2. The name moves when the new machine is proven and the old one is out of the way: decommissioned, broken
   on the way there, or out of reach. Before that nothing is different for the old node, whatever fails.
3. A machine that was out of reach leaves a tombstone, so that it cannot come back as what it was; one that
   was at hand is kept, out of service, under a name that tells.
"""

from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.model import HISTORY_MAX, LABELS_MAX, TOMBSTONES_MAX, Job, Node, State, Task, Tombstone
from statemachine.words import JobId, JobKind, NodeName, Presence, TaskState

NAME_CHARS_MAX = 63
LEFT = "out of reach, and left as it is"
"""How the reason begins for which the old machine was not cleaned up."""


def successor(job: Job) -> NodeName:
    """Return the node that comes in place of `job.replaces`."""
    return next(iter(job.tasks))


def reserved(state: State) -> dict[NodeName, JobId]:
    """Return the nodes that are about to change places, with the job that keeps them."""
    return {
        name: job_id
        for job_id in state.running
        if (job := state.jobs[job_id]).kind is JobKind.REPLACE
        and any(task.state is not TaskState.QUEUED for task in job.tasks.values())
        for name in (successor(job), job.replaces)
    }


def unfit(state: State, job: Job, node: Node) -> str:
    """Return why a queued task of a replacement can never begin; empty when it may, or may wait."""
    if job.replaces not in state.nodes:
        return f"{job.replaces} was forgotten meanwhile"
    if node.name != job.replaces:
        return ""
    if job.tasks[successor(job)].state is not TaskState.SUCCEEDED:
        return f"{successor(job)} is not ready to come in its place"
    if node.presence is Presence.UNREACHABLE:
        return f"{LEFT}: {node.presence_reason}"
    return ""


def take_over(draft: Draft, job: Job) -> bool:
    """Move the name at the end of a replacement, if it went far enough; say whether it did."""
    old, new = draft.nodes.get(job.replaces), draft.nodes.get(successor(job))
    if old is None or new is None or job.tasks[new.name].state is not TaskState.SUCCEEDED:
        return False
    task = job.tasks.get(old.name)
    at_hand = task is not None and (task.state is TaskState.SUCCEEDED or task.touched)
    if not at_hand and not _out_of_the_way(old, task):
        draft.event("node.replaced", old.name, f"keeps its place: {task.error if task else ''}", job=job.id)
        return False
    draft.drop_node(new.name)
    if at_hand:
        draft.drop_node(old.name)
        kept = _kept_name(draft, old.name, job.id)
        draft.put_node(replace(old, name=kept, labels={}, variables={}, maintenance=None, debt=None))
        fate = f"is {old.status} as {kept}"
    else:
        bury(draft, old)
        fate = "is forgotten, since nobody could reach it"
    draft.put_node(_heir(old, new))
    draft.event("node.replaced", old.name, f"{new.name} is in its place; the old machine {fate}", job=job.id)
    return True


def _out_of_the_way(old: Node, task: Task | None) -> bool:
    gone = old.presence is Presence.UNREACHABLE
    return gone and (task is None or task.state is TaskState.SKIPPED)


def _heir(old: Node, new: Node) -> Node:
    """Return the new machine with what belongs to the name; the epoch is the machine's, as its fence is."""
    labels = {**new.labels, **old.labels}
    return replace(
        new,
        name=old.name,
        labels=labels if len(labels) <= LABELS_MAX else old.labels,
        variables=old.variables,
        debt=new.debt or old.debt,
        past=(*old.past, *old.history)[-HISTORY_MAX:],
    )


def whereabouts(state: State, job: Job | None, name: NodeName) -> Node | None:
    """Return the machine on which `job` has, or had, its task `name`, by whatever name it goes now."""
    if job is None or not job.replaces or successor(job) in state.nodes:
        return state.nodes.get(name)
    return state.nodes.get(job.replaces if name == successor(job) else _told_name(name, job.id))


def _told_name(name: NodeName, job_id: JobId) -> NodeName:
    suffix = f"-replaced-{job_id.removeprefix('j-')}"
    return NodeName(name[: NAME_CHARS_MAX - len(suffix)].rstrip("-.") + suffix)


def _kept_name(draft: Draft, name: NodeName, job_id: JobId) -> NodeName:
    kept = _told_name(name, job_id)
    while kept in draft.nodes:
        kept = NodeName(f"{kept[: NAME_CHARS_MAX - 1]}x")
    return kept


def bury(draft: Draft, node: Node) -> None:
    """Strike a node, and leave a tombstone of a machine that was ever seen."""
    draft.drop_node(node.name)
    if node.machine_id:
        stone = Tombstone(
            name=node.name, machine_id=node.machine_id, host_key=node.host_key, at=draft.at, actor=draft.actor
        )
        draft.set(tombstones=(*draft.view.tombstones, stone)[-TOMBSTONES_MAX:])

"""What is due, worked out again in the plainest way from tasks alone, and held against `work.pending`.

1. A queued task is due exactly when its job is not held, its wave is the first unfinished one, nobody is at
   work on its node, no job that goes first wants the node too, and no role would lack what it requires.
2. A live job of which nothing is due waits for an operator, for a node, or for others to be at work.
"""

from collections.abc import Iterator

from statemachine.jobs import work
from statemachine.lifecycle import COUNTED
from statemachine.model import Job, Node, State, Task
from statemachine.words import TASK_ENDED, JobId, JobKind, NodeName, Status, TaskState
from tests.statemachine.rollout_laws import missing


def due_laws(state: State) -> Iterator[str]:
    """Yield where `work.pending` says something else than the rules do."""
    said = {
        (one.job, one.node)
        for one in work.pending(state)
        if isinstance(one, work.TaskDue) and state.jobs[one.job].tasks[one.node].state is TaskState.QUEUED
    }
    expected = _begins(state)
    if said != expected:
        yield f"may begin: {sorted(expected)}; pending says: {sorted(said)}"
    moving = {one.job for one in work.pending(state)}
    for job_id in set(state.running) - moving:
        job = state.jobs[job_id]
        if not job.holds and not _helped(state, job) and not _waits_for_a_node(state, job):
            yield f"{job_id} is live, nothing of it is due, and it waits for nobody"


def _begins(state: State) -> set[tuple[JobId, NodeName]]:
    running = [
        state.jobs[job_id] for job_id in state.running if state.jobs[job_id].kind is not JobKind.DISCOVER
    ]
    found: set[tuple[JobId, NodeName]] = set()
    promised: set[NodeName] = set()
    for job in sorted(running, key=lambda job: (-job.priority, int(job.id.removeprefix("j-")))):
        for task in _first_wave(job):
            if task.state is TaskState.QUEUED and not job.holds and not job.failing:
                node = state.nodes.get(task.node)
                free = node is None or not (_worker_of(state, task.node) or _lacks(state, job, node))
                if free and task.node not in promised:
                    promised.add(task.node)
                    found.add((job.id, task.node))
    return found


def _first_wave(job: Job) -> list[Task]:
    unfinished = [task for task in job.tasks.values() if task.state not in TASK_ENDED]
    first = min((task.wave for task in unfinished), default=0)
    return [task for task in unfinished if task.wave == first]


def _worker_of(state: State, name: NodeName) -> JobId | None:
    for job_id in state.running:
        task = state.jobs[job_id].tasks.get(name)
        if (
            task is not None
            and task.state is TaskState.RUNNING
            and state.jobs[job_id].kind is not JobKind.DISCOVER
        ):
            return job_id
    return None


def _lacks(state: State, job: Job, node: Node) -> bool:
    if job.kind is JobKind.COMMISSION:
        return _lacks_to_enter(state, job, node)
    if job.kind is JobKind.DECOMMISSION:
        return _missed(state, node)
    if job.kind in (JobKind.UPGRADE, JobKind.DRAIN) and not job.rollout.below_minimum:
        return any(missing(state, node))
    return False


def _counted(state: State, role: str) -> int:
    return sum(1 for node in state.nodes.values() if node.status in COUNTED and node.role == role)


def _lacks_to_enter(state: State, job: Job, node: Node) -> bool:
    bundle = state.bundles.get(job.tasks[node.name].bundle or job.bundle)
    name = job.role or node.role
    role = bundle.manifest.roles.get(name) if bundle else None
    return any(
        requirement.role != name and _counted(state, requirement.role) < requirement.minimum
        for requirement in (role.requires if role else ())
    )


def _missed(state: State, node: Node) -> bool:
    """Return whether somebody in service, or on the way into it, would lack `node`, or lack more."""
    if node.status not in COUNTED:
        return False
    left = _counted(state, node.role) - 1
    for other in state.nodes.values():
        coming = other.status is Status.COMMISSIONING
        if other is node or not (coming or other.status in COUNTED):
            continue
        job = state.jobs[other.job] if coming else None
        bundle = state.bundles.get(job.bundle if job else other.bundle)
        role = bundle.manifest.roles.get((job.role if job else "") or other.role) if bundle else None
        for requirement in role.requires if role else ():
            if requirement.role == node.role and left < requirement.minimum:
                return True
    return False


def _helped(state: State, job: Job) -> bool:
    others = (state.jobs[other] for other in state.running if other != job.id)
    return any(
        task.state is TaskState.RUNNING
        for other in others
        if other.kind not in (JobKind.VERIFY, JobKind.DISCOVER)
        for task in other.tasks.values()
    )


def _waits_for_a_node(state: State, job: Job) -> bool:
    """Return whether a node that `job` wants is worked on, or promised to a job that goes first."""
    wanted = {task.node for task in _first_wave(job)}
    promised = {name for _, name in _begins(state)}
    return any(_worker_of(state, name) for name in wanted) or bool(wanted & promised)

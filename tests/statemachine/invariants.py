"""What holds in every state, and between any two states that follow each other, whatever the commands were.

1. `check_state` looks at one state, `check_step` at a command and what it made of a state; both raise
   `AssertionError` that names every broken rule.
2. Nothing here calls the rules that it checks: what counts, who holds whom and what is owed is worked out
   again, in the plainest way. Only the tables and `phases.steps` (what a bundle contains) are shared.
3. The cost of one check grows with the state: use it on dozens of nodes, not on thousands.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from statemachine import codec, phases
from statemachine.commands import ClaimTask, Command, ForgetNode
from statemachine.discovery_commands import ReportSighting
from statemachine.jobs import work
from statemachine.lifecycle import COUNTED, IN_SERVICE, TRANSITIONS, UNDERWAY, Trigger
from statemachine.model import (
    EVENTS_MAX,
    HISTORY_MAX,
    RESULTS_MAX,
    Job,
    Node,
    State,
    Task,
)
from statemachine.outcomes import Accepted, Outcome, Rejected
from statemachine.words import (
    TASK_ENDED,
    Digest,
    JobId,
    JobKind,
    JobState,
    NodeName,
    Phase,
    Status,
    TaskState,
)
from tests.statemachine.bounds import over_bounds

WORKS_AS = {
    JobKind.COMMISSION: Status.COMMISSIONING,
    JobKind.UPGRADE: Status.UPGRADING,
    JobKind.DECOMMISSION: Status.DECOMMISSIONING,
}
"""The status of a node while a task of this kind is at work; a verify leaves the status alone."""
TRIGGERS = {str(trigger): trigger for trigger in Trigger}
BORN = {"added", "found"}
"""What the first line of a history may say."""


def check_state(state: State) -> None:
    """Raise `AssertionError` with everything that is wrong in `state`."""
    problems = [
        *_nodes(state),
        *_jobs(state),
        *_tasks(state),
        *_locks(state),
        *_holds(state),
        *_pending(state),
        *over_bounds(state),
        *_events(state),
    ]
    assert not problems, "\n".join(problems)


def check_step(before: State, command: Command, after: State, outcome: Outcome) -> None:
    """Raise `AssertionError` when `command` did what it must not, or left a state that is wrong."""
    assert after.index == before.index + 1, f"index went from {before.index} to {after.index}"
    repeated = any(command.request_id in generation for generation in before.requests)
    if isinstance(outcome, Rejected) or repeated:
        same = replace(after, index=before.index, requests=before.requests)
        assert same == before, f"refused or repeated, and yet something changed: {outcome}"
        return
    problems = [
        *_lifecycle_steps(before, after),
        *_epoch_steps(before, command, after, outcome),
        *_task_steps(before, after),
        *_event_steps(before, after),
        *_requirement_steps(before, command, after),
    ]
    assert not problems, "\n".join(problems)
    check_state(after)


def check_codec(state: State) -> None:
    """Raise `AssertionError` unless a snapshot of `state` gives the same state and the same bytes again."""
    data = codec.encode_state(state)
    copy = codec.decode_state(data)
    assert copy == state
    assert codec.encode_state(copy) == data


def breaches(state: State) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (role, required role) -> (there are, needed) for what roles in service lack."""
    serving = [node for node in state.nodes.values() if node.status in COUNTED]
    there = Counter(node.role for node in serving)
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for node in serving:
        bundle = state.bundles.get(node.bundle)
        role = bundle.manifest.roles.get(node.role) if bundle else None
        for requirement in role.requires if role else ():
            pair = (node.role, requirement.role)
            need = max(requirement.minimum, found.get(pair, (0, 0))[1])
            if there[requirement.role] < need:
                found[pair] = (there[requirement.role], need)
    return found


def _nodes(state: State) -> Iterator[str]:
    for name, node in state.nodes.items():
        if node.name != name:
            yield f"{name}: is stored under another name than {node.name}"
        if not node.history:
            yield f"{name}: has no history"
            continue
        first = node.history[0]
        if len(node.history) < HISTORY_MAX and (first.status is not Status.NEW or first.trigger not in BORN):
            yield f"{name}: its history begins with {first.trigger} -> {first.status}"
        for earlier, later in pairwise(node.history):
            if TRANSITIONS[earlier.status].get(TRIGGERS.get(later.trigger)) is not later.status:
                yield f"{name}: no cell {earlier.status} --{later.trigger}--> {later.status}"
            if later.index < earlier.index:
                yield f"{name}: its history goes back in time"
        if node.history[-1].status is not node.status:
            yield f"{name}: is {node.status}, and its history ends in {node.history[-1].status}"
        if node.status in IN_SERVICE and not (node.role and node.bundle == node.last_good != ""):
            yield f"{name}: in service as {node.role!r} with {node.bundle!r}, last good {node.last_good!r}"
        if gone := {node.bundle, node.last_good} - {Digest(""), *state.bundles}:
            yield f"{name}: needs bundles that are gone: {gone}"
        if not 0 <= node.epoch < 2**63:
            yield f"{name}: epoch {node.epoch}"
        if node.index > state.index:
            yield f"{name}: changed at {node.index}, in the future"


def _jobs(state: State) -> Iterator[str]:
    running = tuple(job.id for job in state.jobs.values() if job.state is JobState.RUNNING)
    if set(running) != set(state.running) or len(state.running) != len(set(state.running)):
        yield f"running jobs are {running}, and the list says {state.running}"
    for key, job in state.jobs.items():
        if job.id != key or not 0 < int(job.id.rpartition("-")[2]) <= state.job_count:
            yield f"job {job.id} is stored as {key}, after {state.job_count} jobs"
        open_tasks = [task for task in job.tasks.values() if task.state not in TASK_ENDED]
        if bool(open_tasks) is not (job.state is JobState.RUNNING):
            yield f"{key}: is {job.state} with {len(open_tasks)} open tasks"
        if job.state is JobState.RUNNING and job.bundle and job.bundle not in state.bundles:
            yield f"{key}: its bundle is gone"
        if job.state is not JobState.RUNNING and job.state is not _fair_end(job):
            yield f"{key}: ended {job.state} with {Counter(task.state for task in job.tasks.values())}"
        waves = [task.wave for task in job.tasks.values()]
        crowded = job.kind is not JobKind.DISCOVER and max(Counter(waves).values()) > job.max_parallel
        if waves != sorted(waves) or crowded:
            yield f"{key}: waves {waves}"


def _fair_end(job: Job) -> JobState:
    states = {task.state for task in job.tasks.values()}
    if TaskState.CANCELLED in states:
        return JobState.CANCELLED
    if states == {TaskState.SUCCEEDED}:
        return JobState.SUCCEEDED
    if (
        job.replaces
        and job.state is JobState.SUCCEEDED
        and states == {TaskState.SUCCEEDED, TaskState.SKIPPED}
    ):
        return JobState.SUCCEEDED  # nobody could reach the old machine, and the name moved all the same
    return JobState.PARTLY if TaskState.SUCCEEDED in states else JobState.FAILED


def _tasks(state: State) -> Iterator[str]:
    for job in state.jobs.values():
        for name, task in job.tasks.items():
            at = f"{job.id} on {name}"
            if task.node != name or task.attempt < 1 or task.cursor < 0:
                yield f"{at}: stored wrongly: {task}"
            if task.state is TaskState.QUEUED and task != Task(
                node=name, wave=task.wave, bundle=task.bundle, kind=task.kind, variables=task.variables
            ):
                yield f"{at}: queued, and yet something was done: {task}"
            if task.state in TASK_ENDED and task.launched_at is not None:
                yield f"{at}: ended with an attempt in flight"
            if task.state is TaskState.RUNNING:
                yield from _running_task(state, job, task, at)


def _running_task(state: State, job: Job, task: Task, at: str) -> Iterator[str]:
    node = state.nodes.get(task.node)
    if node is None or job.kind is JobKind.DISCOVER:
        yield f"{at}: at work without a node"
        return
    if not 0 < task.epoch <= node.epoch:
        yield f"{at}: at work under epoch {task.epoch}, the node's is {node.epoch}"
    if task.phase not in phases.way(job) + phases.UNDO_PHASES[job.kind]:
        yield f"{at}: a {job.kind} has no phase {task.phase}"
    owed = work.step_due(state, job.id, task.node, task.epoch)
    if owed is None:
        yield f"{at}: at work, and owes nothing"
        return
    passed = {result.step.removesuffix(".check") for result in task.results if result.passed}
    if owed.step.key in passed:
        yield f"{at}: owes {owed.step.key}, which passed already"
    used = {(result.step, result.attempt) for result in task.results}
    if (owed.key, owed.attempt) in used:
        yield f"{at}: owes {owed.key}/{owed.attempt} a second time"
    if task.launched_at is not None and not (task.touched or owed.step.spec.check):
        yield f"{at}: a step that changes the node is announced, and it counts as untouched"
    if task.phase in phases.UNDO_PHASES[job.kind] and not (task.touched and task.failure):
        yield f"{at}: undoes what was not done, or does not know why"


def _locks(state: State) -> Iterator[str]:
    locked: dict[NodeName, Job] = {}
    for job in state.jobs.values():
        if job.kind is JobKind.DISCOVER:
            continue
        for name, task in job.tasks.items():
            if task.state is TaskState.RUNNING:
                if name in locked:
                    yield f"{name}: two jobs are at work on it"
                locked[name] = job
    for name in locked:
        if name not in state.nodes:
            yield f"{name}: has a task at work, and is not in the inventory"
    for name, node in state.nodes.items():
        job = locked.get(name)
        if node.job != (job.id if job else ""):
            yield f"{name}: locked by {node.job!r}, and at work on it is {job.id if job else 'no job'}"
        at_work = job is not None
        expected = WORKS_AS.get(job.tasks[name].kind or job.kind) if job is not None else None
        if (node.status if node.status in UNDERWAY else None) is not expected:
            yield f"{name}: is {node.status}; at work on it: {job.kind if job else 'nobody'}"
        if (node.returns_to is not None) is not at_work:
            yield f"{name}: remembers {node.returns_to} to return to, at work: {at_work}"


def _holds(state: State) -> Iterator[str]:
    for job in state.jobs.values():
        kinds = [hold.kind for hold in job.holds]
        if len(set(kinds)) != len(kinds):
            yield f"{job.id}: is held twice for the same reason: {kinds}"
        if job.state is not JobState.RUNNING and kinds:
            yield f"{job.id}: has ended and is held: {kinds}"
        if job.state is JobState.RUNNING:
            yield from _budget(job)


def _budget(job: Job) -> Iterator[str]:
    """A job over its budget is at work on what had begun, and on nothing else."""
    failed = sum(task.state is TaskState.FAILED for task in job.tasks.values()) - job.forgiven
    queued = any(task.state is TaskState.QUEUED for task in job.tasks.values())
    if queued and job.max_failed is not None and failed > job.max_failed and not (job.failing and job.holds):
        yield f"{job.id}: {failed} failed, {job.max_failed} are allowed, and the rest may still begin"


def _pending(state: State) -> Iterator[str]:
    due = [one for one in work.pending(state) if not isinstance(one, work.ReviewDue)]
    for job_id in set(state.running) - {one.job for one in due}:
        job = state.jobs[job_id]
        nodes = (state.nodes.get(task.node) for task in job.tasks.values() if task.state not in TASK_ENDED)
        others = {node.job for node in nodes if node is not None} - {JobId(""), job_id}
        if not job.holds and not others and len({one.job for one in due}) == 0:
            yield f"{job_id} is running, and neither is anything of it due nor does anything hold it"
    names = [(one.job, one.node if isinstance(one, work.TaskDue) else one.task) for one in due]
    if len(set(names)) != len(names):
        yield "the same task is due twice"
    for job_id, name in names:
        if state.jobs[job_id].tasks[name].state in TASK_ENDED:
            yield f"{job_id} on {name} has ended and is due"


def _events(state: State) -> Iterator[str]:
    cursors = [(event.index, event.part) for event in state.events]
    if any(later <= earlier for earlier, later in pairwise(cursors)):
        yield "events are out of order"
    if cursors and not state.event_base <= cursors[0][0] <= cursors[-1][0] <= state.index:
        yield f"events {cursors[0]} to {cursors[-1]}, base {state.event_base}, index {state.index}"


def _lifecycle_steps(before: State, after: State) -> Iterator[str]:
    for name, node in after.nodes.items():
        old = before.nodes.get(name)
        lines = [line for line in node.history if line.index == after.index]
        if old is None or node is old or _another_machine(old, node):
            continue
        if (node.status is not old.status) and not lines:
            yield f"{name}: went from {old.status} to {node.status} without a line of history"
        if node.index != after.index:
            yield f"{name}: changed without a new index"
        status = old.status
        for line in lines:
            if line.status in IN_SERVICE:
                yield from _proof(before, after, node, status, TRIGGERS[line.trigger])
            status = line.status


def _another_machine(old: Node, node: Node) -> bool:
    """A replacement put another machine behind the name; what it did is in the history that it brings."""
    return old.machine_id not in ("", node.machine_id)


def _proof(before: State, after: State, node: Node, was: Status, trigger: Trigger) -> Iterator[str]:
    """A node enters service by the steps of a verify that all passed, or because nobody touched it."""
    old = before.nodes[node.name]
    job_id = old.job or node.job
    job, task = after.jobs.get(job_id), before.jobs[job_id].tasks[node.name]
    if job is not None:
        task = job.tasks[node.name]
    if trigger is Trigger.VERIFIED:
        phase = Phase.VERIFY
    elif task.touched:
        phase = Phase.REVERIFY
    else:
        return
    keys = {step.key for step in phases.steps(before, before.jobs[job_id], old, phase)}
    passed = {result.step.removesuffix(".check") for result in task.results if result.passed}
    if not keys or (keys - passed and len(task.results) < RESULTS_MAX):
        yield f"{node.name}: {was} -> {node.status} without proof; not passed: {sorted(keys - passed)}"


def _epoch_steps(before: State, command: Command, after: State, outcome: Accepted) -> Iterator[str]:
    for name, node in after.nodes.items():
        old = before.nodes.get(name)
        if old is None or _another_machine(old, node):
            same = (one for one in before.nodes.values() if one.machine_id == node.machine_id != "")
            old = next(same, old)
        raised = node.epoch - (old.epoch if old else 0)
        if isinstance(command, ClaimTask) and name == command.node:
            if raised != 1 or outcome.epoch != node.epoch:
                yield f"{name}: a claim raised the epoch by {raised} and answered {outcome.epoch}"
        elif isinstance(command, ReportSighting):
            if raised < 0 or (raised and node.epoch != command.sighting.epoch):
                yield f"{name}: a sighting of epoch {command.sighting.epoch} made it {node.epoch}"
        elif raised:
            yield f"{name}: the epoch changed by {raised} without a claim"


def _task_steps(before: State, after: State) -> Iterator[str]:
    order = list(Phase)
    for job_id, job in before.jobs.items():
        for name, old in job.tasks.items():
            new = after.jobs[job_id].tasks[name] if job_id in after.jobs else old
            if new is old:
                continue
            at = f"{job_id} on {name}"
            if old.state in TASK_ENDED or new.state is TaskState.QUEUED:
                yield f"{at}: went from {old.state} to {new.state}"
            if new.epoch < old.epoch or old.touched > new.touched or old.cancel > new.cancel:
                yield f"{at}: forgot a claim, a touch or a cancel"
            where = [(order.index(task.phase), task.cursor, task.attempt) for task in (old, new)]
            if where[1] < where[0]:
                yield f"{at}: went back from {where[0]} to {where[1]}"
            if new.results[: len(old.results)] != old.results and len(new.results) < RESULTS_MAX:
                yield f"{at}: a result was rewritten"


def _event_steps(before: State, after: State) -> Iterator[str]:
    new = [event for event in after.events if event.index == after.index]
    if [event.part for event in new] != list(range(len(new))) and len(new) < EVENTS_MAX:
        yield f"the parts of the new events are {[event.part for event in new]}"
    kept = after.events[: len(after.events) - len(new)]
    if kept != before.events[len(before.events) - len(kept) :]:
        yield "old events changed"
    gone = before.events[: len(before.events) - len(kept)]
    if after.event_base < max([before.event_base, *(event.index for event in gone)]):
        yield f"events up to {gone[-1].index} are gone, and the base is {after.event_base}"


def _requirement_steps(before: State, command: Command, after: State) -> Iterator[str]:
    """Nothing that an operator asks for breaks what a role requires; only the world may (a failed node)."""
    if not isinstance(command, ForgetNode | ClaimTask):
        return
    old = breaches(before)
    for pair, (there, need) in breaches(after).items():
        if there < old.get(pair, (need, 0))[0]:
            yield f"role {pair[0]} would have {there} of {need} x {pair[1]} after {type(command).__name__}"

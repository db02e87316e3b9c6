"""The way back for a whole job: a job that undoes what another one did, the newest first.

1. Only nodes that are still as the job left them are brought back; what moved on since is left alone.
   They get the bundle back that they had, and the request's variables with which it was proven.
2. A job that is tried again keeps its strategy: canaries that were not promoted, domains, windows.
3. An upgrade is reverted by an upgrade to the bundle that each node had, a commission by a decommission.
4. A job that goes on without nodes that are away is tried again without them: they pay when they are back.
"""

from collections.abc import Mapping

from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import Job, Node, Task
from statemachine.phases import wanted_bundle
from statemachine.rollout import Rollout
from statemachine.rollouts import debts
from statemachine.rollouts.arrangement import arranged
from statemachine.rollouts.gates import holds_at_first
from statemachine.words import JobId, JobKind, JobState, TaskState, Value

NAMED_MAX = 5
"""Nodes that a refusal names."""
REVERSED = {JobKind.UPGRADE: JobKind.UPGRADE, JobKind.COMMISSION: JobKind.DECOMMISSION}


def revert_of(draft: Draft, job: Job, *, reason: str) -> Job | str:
    """Return the job that undoes `job`, not yet taken up; or one sentence on why there is none."""
    if job.kind not in REVERSED:
        return f"a {job.kind} changes nothing that could be brought back"
    done = [task for task in job.tasks.values() if task.state is TaskState.SUCCEEDED]
    if not done:
        return f"no node of {job.id} succeeded, so there is nothing to bring back"
    here = [task for task in done if _as_left(draft, job, task)]
    if not here:
        return f"every node of {job.id} has moved on since, or what it had before is gone"
    here.sort(key=lambda task: (-task.ended_at, task.node))
    bundles = {task.bundle_before for task in here}
    requests = [_request_back(draft, job, task) for task in here]
    alike = all(request == requests[0] for request in requests)
    return Job(
        id=draft.next_job_id(),
        kind=REVERSED[job.kind],
        actor=draft.actor,
        reason=reason,
        bundle=here[0].bundle_before if len(bundles) == 1 and job.kind is JobKind.UPGRADE else job.bundle,
        variables=requests[0] if alike else {},
        max_parallel=job.max_parallel,
        rollout=Rollout(below_minimum=job.rollout.below_minimum),
        tasks={
            task.node: Task(
                node=task.node,
                wave=place // job.max_parallel,
                bundle=task.bundle_before if job.kind is JobKind.UPGRADE else task.bundle,
                variables=None if alike else request,
            )
            for place, (task, request) in enumerate(zip(here, requests, strict=True))
        },
        priority=job.priority,
        submitted_at=draft.at,
        revert_of=JobId(job.id),
    )


def _as_left(draft: Draft, job: Job, task: Task) -> bool:
    node: Node | None = draft.nodes.get(task.node)
    if node is None or node.status not in IN_SERVICE or node.bundle != wanted_bundle(job, task):
        return False
    return job.kind is not JobKind.UPGRADE or task.bundle_before in draft.before.bundles


def _request_back(draft: Draft, job: Job, task: Task) -> Mapping[str, Value]:
    """Return the request's variables with which a node is brought back: those of what comes, or goes."""
    return task.variables_before if job.kind is JobKind.UPGRADE else draft.nodes[task.node].last_request


def retry_of(draft: Draft, job: Job, *, unfinished: bool, reason: str) -> Job | str:
    """Return the job that does `job` again where it failed, not yet taken up; or why there is none."""
    states = {TaskState.FAILED}
    if unfinished:
        states |= {TaskState.SKIPPED, TaskState.CANCELLED}
    again = [task for task in job.tasks.values() if task.state in states and task.node in draft.nodes]
    if not again:
        return f"{job.id} failed nowhere" + ("" if unfinished else "; --unfinished takes skipped ones too")
    if job.owes:
        away = [task.node for task in again if debts.is_offline(draft.nodes[task.node])]
        again = [task for task in again if task.node not in away]
        if not again:
            named = ", ".join(away[:NAMED_MAX]) + (" and others" if len(away) > NAMED_MAX else "")
            return f"{named} cannot be reached; what is owed to {job.id} is paid as soon as that is possible"
    canary = 0 if job.promoted else min(job.rollout.canary, len(again))
    rollout = replace(
        job.rollout,
        canary=canary,
        promotion=job.rollout.promotion if canary else Rollout().promotion,
        start_at=0.0,
    )
    waves = arranged([draft.nodes[task.node] for task in again], rollout, job.max_parallel)
    return replace(
        job,
        id=draft.next_job_id(),
        actor=draft.actor,
        reason=reason or job.reason,
        tasks={
            task.node: Task(
                node=task.node,
                wave=waves[task.node].wave,
                bundle=task.bundle,
                kind=task.kind,
                variables=task.variables,
            )
            for task in again
        },
        rollout=rollout,
        state=JobState.RUNNING,
        submitted_at=draft.at,
        ended_at=0.0,
        error="",
        holds=holds_at_first(rollout.windows, rollout.start_at, draft.at),
        forgiven=0,
        promoted=False,
        failing="",
        progressed_at=0.0,
        window_until=0.0,
        retry_of=job.id,
        revert_of=JobId(""),
    )

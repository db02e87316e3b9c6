"""Rules for asking: submitting and cancelling jobs; `admission` says what is refused."""

from dataclasses import replace

from statemachine import admission, inventory, requirements, waves
from statemachine.commands import CancelJob, SubmitDiscovery, SubmitJob
from statemachine.draft import Draft
from statemachine.manifest import Manifest
from statemachine.model import TASKS_MAX, Job, Node, Task
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import (
    Digest,
    JobId,
    JobKind,
    JobState,
    NodeName,
    TaskState,
)

PARALLEL_DEFAULT = 32
PROBES_PARALLEL_DEFAULT = 64
UPGRADE_WAVES_DEFAULT = 10
"""An upgrade that does not say how many nodes at once takes a tenth of them."""


def submit_job(draft: Draft, command: SubmitJob) -> Outcome:
    if command.kind is JobKind.DISCOVER:
        return inventory.invalid("a discover job is submitted with addresses, not with nodes")
    if refusal := admission.bad_numbers(draft, command.max_parallel, command.max_failed):
        return refusal
    nodes = admission.chosen(draft, command)
    if isinstance(nodes, Rejected):
        return nodes
    if refusal := admission.not_now(draft, command, nodes):
        return refusal
    bundle = admission.bundle_for(draft, command)
    if isinstance(bundle, Rejected):
        return bundle
    if refusal := admission.bad_roles(draft, command, nodes, bundle) or admission.breaks_requirement(
        draft, command, nodes, bundle
    ):
        return refusal
    ordered = _in_order(draft, command, nodes, bundle)
    parallel = command.max_parallel or _parallel(command.kind, len(ordered))
    max_failed = 0 if command.max_failed is None and command.kind is JobKind.UPGRADE else command.max_failed
    job = Job(
        id=_next_id(draft),
        kind=command.kind,
        actor=command.actor,
        reason=command.reason,
        bundle=bundle,
        role=command.role,
        variables=command.variables,
        max_parallel=parallel,
        max_failed=max_failed,
        tasks={node.name: Task(node=node.name, wave=i // parallel) for i, node in enumerate(ordered)},
        submitted_at=command.at,
    )
    for node in ordered:
        draft.put_node(replace(node, job=job.id))
    return _accept(draft, job)


def submit_discovery(draft: Draft, command: SubmitDiscovery) -> Outcome:
    if refusal := admission.bad_numbers(draft, command.max_parallel, None):
        return refusal
    if refusal := inventory.bad_labels(dict(command.labels)):
        return refusal
    endpoints = {NodeName(str(endpoint)): endpoint for endpoint in command.endpoints}
    if not endpoints:
        return Rejected(reason=Reason.NO_TARGETS, message="no addresses were given")
    if len(endpoints) > TASKS_MAX:
        return Rejected(
            reason=Reason.LIMIT,
            message=f"{len(endpoints)} addresses are more than the {TASKS_MAX} that one job may probe",
            hint="split the range",
        )
    job = Job(
        id=_next_id(draft),
        kind=JobKind.DISCOVER,
        actor=command.actor,
        reason=command.reason,
        max_parallel=command.max_parallel or PROBES_PARALLEL_DEFAULT,
        tasks={name: Task(node=name) for name in endpoints},
        endpoints=endpoints,
        sweep=command.sweep,
        readmit=command.readmit,
        labels={key: value for key, value in command.labels.items() if value},
        submitted_at=command.at,
    )
    return _accept(draft, job)


def cancel_job(draft: Draft, command: CancelJob) -> Outcome:
    job = draft.jobs.get(command.job)
    if job is None:
        return no_such_job(command.job)
    if job.state is not JobState.RUNNING:
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"job {job.id} has ended already: {job.state}",
            offenders=(job.id,),
        )
    draft.event("job.cancelled", job.id, command.reason or "an operator cancelled it", job=job.id)
    for task in job.tasks.values():
        if task.state is TaskState.QUEUED:
            waves.end_task(draft, job.id, task, TaskState.CANCELLED)
        elif task.state is TaskState.RUNNING:
            draft.put_task(job.id, replace(task, cancel=True))
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)


def no_such_job(job: JobId) -> Rejected:
    return Rejected(
        reason=Reason.NO_SUCH_JOB,
        message=f"no such job: {job}",
        offenders=(job,),
        hint="list the jobs with `hamgr job ls`; the oldest ended ones are dropped",
    )


def _next_id(draft: Draft) -> JobId:
    return JobId(f"j-{draft.before.job_count + 1}")


def _accept(draft: Draft, job: Job) -> Accepted:
    draft.set(job_count=draft.before.job_count + 1)
    draft.put_job(job)
    draft.running = (*draft.running, job.id)
    draft.event("job.submitted", job.id, f"{job.kind} of {len(job.tasks)}", job=job.id)
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)


def _parallel(kind: JobKind, count: int) -> int:
    return -(-count // UPGRADE_WAVES_DEFAULT) if kind is JobKind.UPGRADE else PARALLEL_DEFAULT


def _in_order(draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest) -> list[Node]:
    """Put what others require first; a decommission takes it last."""

    def rank(node: Node) -> int:
        stored = draft.before.bundles.get(bundle or node.bundle)
        manifest = stored.manifest if stored else Manifest()
        return requirements.rank(manifest, command.role or node.role)

    sign = -1 if command.kind is JobKind.DECOMMISSION else 1
    return sorted(nodes, key=lambda node: (sign * rank(node), node.name))

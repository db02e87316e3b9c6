"""Rules for asking: submitting jobs and ending them; `admission` says what is refused."""

from statemachine.commands import CancelJob, SubmitJob
from statemachine.copying import replace
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.draft import Draft
from statemachine.jobs import admission
from statemachine.manifest import Manifest
from statemachine.model import TASKS_MAX, Job, Node, Task
from statemachine.nodes import inventory, requirements
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.rollouts import debts, gates, named, waves
from statemachine.rollouts.arrangement import arranged
from statemachine.words import Digest, JobId, JobKind, JobState, NodeName, TaskState

PARALLEL_DEFAULT = 32
PROBES_PARALLEL_DEFAULT = 64
UPGRADE_WAVES_DEFAULT = 10
"""An upgrade that does not say how many nodes at once takes a tenth of them."""


def submit_job(draft: Draft, command: SubmitJob) -> Outcome:
    if command.kind is JobKind.DISCOVER:
        return inventory.invalid("a discover job is submitted with addresses, not with nodes")
    if command.kind is JobKind.REPLACE:
        return inventory.invalid("a replacement names two nodes", hint="hamgr node replace OLD NEW")
    if refusal := admission.bad_numbers(draft, command.max_parallel, command.max_failed, command.priority):
        return refusal
    if refusal := admission.bad_deadline(command.task_deadline_s):
        return refusal
    nodes = admission.chosen(draft, command)
    if isinstance(nodes, Rejected):
        return nodes
    resolved = named.resolved(draft.before, command, nodes)
    if isinstance(resolved, Rejected):
        return resolved
    command = resolved
    if refusal := admission.bad_rollout(command, len(nodes)) or admission.not_now(draft, command, nodes):
        return refusal
    bundle = admission.bundle_for(draft, command)
    if isinstance(bundle, Rejected):
        return bundle
    if refusal := admission.bad_roles(draft, command, nodes, bundle) or admission.breaks_requirement(
        draft, command, nodes, bundle
    ):
        return refusal
    owes = debts.asked(command)
    if refusal := debts.bad_offline(command):
        return refusal
    ordered = _in_order(draft, command, nodes, bundle)
    if owes:
        ordered.sort(key=debts.is_offline)  # those that are there first: canaries have to be among them
    parallel = _parallel(command, len(ordered))
    job = Job(
        id=draft.next_job_id(),
        kind=command.kind,
        actor=command.actor,
        reason=command.reason,
        bundle=bundle,
        role=command.role,
        variables=command.variables,
        max_parallel=parallel,
        max_failed=_budget(command, len(ordered)),
        rollout=command.rollout,
        priority=command.priority,
        tasks=arranged(ordered, command.rollout, parallel),
        holds=gates.holds_at_first(command.rollout.windows, command.rollout.start_at, command.at),
        submitted_at=command.at,
        plan=command.plan,
        task_deadline_s=command.task_deadline_s,
        owes=owes,
    )
    return waves.take_up(draft, job)


def submit_discovery(draft: Draft, command: SubmitDiscovery) -> Outcome:
    if refusal := admission.bad_numbers(draft, command.max_parallel, None, 0):
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
        id=draft.next_job_id(),
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
    return waves.take_up(draft, job)


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
    draft.put_job(replace(job, holds=()))
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


def _parallel(command: SubmitJob, count: int) -> int:
    """Return the size of a wave."""
    if command.max_parallel:
        return command.max_parallel
    if command.rollout.max_parallel_percent:
        return max(1, count * command.rollout.max_parallel_percent // 100)
    return -(-count // UPGRADE_WAVES_DEFAULT) if command.kind is JobKind.UPGRADE else PARALLEL_DEFAULT


def _budget(command: SubmitJob, count: int) -> int | None:
    """Return how many nodes may fail."""
    if command.rollout.max_failed_percent is not None:
        return count * command.rollout.max_failed_percent // 100
    if command.max_failed is None and command.kind is JobKind.UPGRADE:
        return 0
    return command.max_failed


def _in_order(draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest) -> list[Node]:
    """Put what others require first, and a decommission last; then one failure domain after another."""
    domain = command.rollout.domain

    def rank(node: Node) -> int:
        stored = draft.before.bundles.get(bundle or node.bundle)
        manifest = stored.manifest if stored else Manifest()
        return requirements.rank(manifest, command.role or node.role)

    sign = -1 if command.kind in (JobKind.DECOMMISSION, JobKind.DRAIN) else 1
    return sorted(nodes, key=lambda node: (sign * rank(node), node.labels.get(domain, ""), node.name))

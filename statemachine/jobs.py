"""Rules for asking: submitting and cancelling jobs.

A request is checked whole before anything changes, and a refusal names all offenders of the first rule
that is broken.
"""

from collections.abc import Callable
from dataclasses import replace

from statemachine import inventory, lifecycle, requirements, targets, waves
from statemachine.commands import CancelJob, SubmitDiscovery, SubmitJob
from statemachine.draft import Draft
from statemachine.lifecycle import Trigger
from statemachine.manifest import Manifest
from statemachine.model import JOBS_RUNNING_MAX, TASKS_MAX, Job, Node, Task
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.plans import role_steps
from statemachine.words import (
    Digest,
    JobId,
    JobKind,
    JobState,
    NodeName,
    Phase,
    Presence,
    Status,
    TaskState,
    Verb,
)

PARALLEL_DEFAULT = 32
PROBES_PARALLEL_DEFAULT = 64
UPGRADE_WAVES_DEFAULT = 10
"""An upgrade that does not say how many nodes at once takes a tenth of them."""
_ALLOWED: dict[JobKind, tuple[Status, ...]] = {
    JobKind.COMMISSION: lifecycle.allowed_from(Trigger.COMMISSION),
    JobKind.UPGRADE: lifecycle.allowed_from(Trigger.UPGRADE),
    JobKind.DECOMMISSION: lifecycle.allowed_from(Trigger.DECOMMISSION),
    JobKind.VERIFY: tuple(status for status in Status if status in lifecycle.IN_SERVICE),
}


def submit_job(draft: Draft, command: SubmitJob) -> Outcome:
    if command.kind is JobKind.DISCOVER:
        return inventory.invalid("a discover job is submitted with addresses, not with nodes")
    if refusal := _bad_numbers(draft, command.max_parallel, command.max_failed):
        return refusal
    nodes = _targets(draft, command)
    if isinstance(nodes, Rejected):
        return nodes
    if refusal := _not_now(draft, command, nodes):
        return refusal
    bundle = _bundle(draft, command)
    if isinstance(bundle, Rejected):
        return bundle
    if refusal := _bad_roles(draft, command, nodes, bundle) or _breaks_requirement(
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
    if refusal := _bad_numbers(draft, command.max_parallel, None):
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


def _bad_numbers(draft: Draft, max_parallel: int, max_failed: int | None) -> Rejected | None:
    if not 0 <= max_parallel <= TASKS_MAX:
        return inventory.invalid(f"max_parallel must be between 1 and {TASKS_MAX}, not {max_parallel}")
    if max_failed is not None and not 0 <= max_failed <= TASKS_MAX:
        return inventory.invalid(f"max_failed must be between 0 and {TASKS_MAX}, not {max_failed}")
    if len(draft.running) >= JOBS_RUNNING_MAX:
        return Rejected(
            reason=Reason.LIMIT,
            message=f"{JOBS_RUNNING_MAX} jobs are running already",
            hint="wait for one to end, or cancel one",
        )
    return None


def _targets(draft: Draft, command: SubmitJob) -> list[Node] | Rejected:
    if bool(command.nodes) == bool(command.selector):
        return Rejected(
            reason=Reason.NO_TARGETS,
            message="name the nodes, or give a selector; not both, not neither",
            hint="every node is the selector '*'",
        )
    names = tuple(dict.fromkeys(command.nodes))
    if command.selector:
        terms = targets.parse(command.selector)
        if isinstance(terms, str):
            return inventory.invalid(terms, command.selector)
        names = targets.select(draft.before, terms)
        if not names:
            return Rejected(
                reason=Reason.NO_TARGETS,
                message=f"no node matches {command.selector!r}",
                offenders=(command.selector,),
                hint="see what there is: `hamgr node ls`",
            )
    unknown = tuple(name for name in names if name not in draft.nodes)
    if unknown:
        return inventory.no_such_node(*unknown)
    return [draft.nodes[name] for name in names]


def _not_now(draft: Draft, command: SubmitJob, nodes: list[Node]) -> Rejected | None:
    """Refuse nodes that are held, in the wrong status, cordoned or out of reach."""

    def refuse(
        reason: Reason, says: Callable[[Node], str], broken: Callable[[Node], bool], hint: str
    ) -> Rejected | None:
        bad = [node for node in nodes if broken(node)]
        if not bad:
            return None
        message = "; ".join(f"{node.name} {says(node)}" for node in bad)
        return Rejected(reason=reason, message=message, offenders=tuple(n.name for n in bad), hint=hint)

    allowed = _ALLOWED[command.kind]
    statuses = ", ".join(allowed)
    return (
        refuse(
            Reason.BUSY,
            lambda n: f"is held by job {n.job}",
            lambda n: bool(n.job),
            "wait for that job, or cancel it",
        )
        or refuse(
            Reason.WRONG_STATUS,
            lambda n: f"is {n.status}",
            lambda n: n.status not in allowed,
            f"{command.kind} is for nodes that are: {statuses}",
        )
        or refuse(
            Reason.IN_MAINTENANCE,
            lambda n: f"is in maintenance: {n.maintenance.reason if n.maintenance else ''}",
            lambda n: inventory.in_maintenance(n, draft.at),
            "end it with `hamgr node maintenance NODE off`",
        )
        or refuse(
            Reason.UNREACHABLE,
            lambda n: f"is unreachable: {n.presence_reason}",
            lambda n: n.presence is Presence.UNREACHABLE,
            "bring it back and run `hamgr discover ADDRESS`, or leave it out",
        )
    )


def _bundle(draft: Draft, command: SubmitJob) -> Digest | Rejected:
    if command.kind in (JobKind.VERIFY, JobKind.DECOMMISSION):
        if command.bundle:
            return inventory.invalid(f"{command.kind} uses the bundle that each node has; do not give one")
        return Digest("")
    digest = command.bundle or draft.before.current_bundle
    if digest and digest in draft.before.bundles:
        return digest
    return Rejected(
        reason=Reason.NO_SUCH_BUNDLE,
        message=f"no such bundle: {digest}" if digest else "there is no configuration bundle yet",
        offenders=(digest,) if digest else (),
        hint="list them with `hamgr config ls`, or push one: `hamgr config push DIR`",
    )


def _bad_roles(draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest) -> Rejected | None:
    if command.role and command.kind is not JobKind.COMMISSION:
        return inventory.invalid("only commission takes a role; the other operations keep each node's own")
    without = tuple(node.name for node in nodes if not (command.role or node.role))
    if without and command.kind is JobKind.COMMISSION:
        return inventory.invalid(
            f"no role for {', '.join(without)}",
            *without,
            hint="give one: `hamgr node commission ... --role ROLE`",
        )
    unknown: dict[str, None] = {}
    unproven: dict[str, None] = {}
    proven: set[tuple[Digest, str]] = set()
    for node in nodes:
        digest = bundle or node.bundle
        stored = draft.before.bundles.get(digest)
        role = stored.manifest.roles.get(command.role or node.role) if stored else None
        if stored is None or role is None:
            unknown[command.role or node.role] = None
        elif (digest, role.name) not in proven:
            if role_steps(stored.manifest, digest, role, Verb.VERIFY, Phase.VERIFY):
                proven.add((digest, role.name))
            else:
                unproven[role.name] = None
    if command.kind is JobKind.DECOMMISSION:
        return None
    if unknown:
        return Rejected(
            reason=Reason.NO_SUCH_ROLE,
            message=f"the bundle has no role {', '.join(unknown)}",
            offenders=tuple(unknown),
            hint="see the roles: `hamgr config show`",
        )
    if unproven:
        return inventory.invalid(
            f"nothing verifies role {', '.join(unproven)}, so nobody could say that it works",
            *unproven,
            hint="give a component of the role a verify verb",
        )
    return None


def _breaks_requirement(
    draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest
) -> Rejected | None:
    if command.kind is JobKind.COMMISSION:
        added = {node.name: command.role or node.role for node in nodes}
        broken = requirements.refusal_of_addition(draft.before, added, bundle)
    elif command.kind is JobKind.DECOMMISSION:
        broken = requirements.refusal_of_removal(draft.before, [node.name for node in nodes])
    elif command.kind is JobKind.UPGRADE:
        broken = requirements.refusal_of_upgrade(draft.before, nodes, bundle)
    else:
        return None
    if not broken:
        return None
    return Rejected(
        reason=Reason.REQUIREMENT, message="; ".join(broken), offenders=tuple(node.name for node in nodes)
    )


def _in_order(draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest) -> list[Node]:
    """Put what others require first; a decommission takes it last."""

    def rank(node: Node) -> int:
        stored = draft.before.bundles.get(bundle or node.bundle)
        manifest = stored.manifest if stored else Manifest()
        return requirements.rank(manifest, command.role or node.role)

    sign = -1 if command.kind is JobKind.DECOMMISSION else 1
    return sorted(nodes, key=lambda node: (sign * rank(node), node.name))

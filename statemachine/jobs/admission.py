"""Which jobs are refused: numbers, targets, statuses, bundles, roles, what roles require of each other.

A request is checked whole before anything changes, and a refusal names all offenders of the first rule
that is broken.
"""

from collections.abc import Callable

from statemachine import phases, rollout
from statemachine.commands import SubmitJob
from statemachine.draft import Draft
from statemachine.model import JOBS_RUNNING_MAX, TASKS_MAX, Job, Node
from statemachine.nodes import inventory, requirements, targets
from statemachine.outcomes import Reason, Rejected
from statemachine.phases import role_steps
from statemachine.rollout import DEADLINE_S_MAX, PRIORITY_MAX
from statemachine.rollouts import blocking, debts
from statemachine.rollouts.blocking import ALLOWED
from statemachine.words import Digest, JobKind, Phase, Presence, Verb


def bad_numbers(draft: Draft, max_parallel: int, max_failed: int | None, priority: int) -> Rejected | None:
    """Refuse numbers out of bounds, and one job too many."""
    if not 0 <= max_parallel <= TASKS_MAX:
        return inventory.invalid(f"max_parallel must be between 1 and {TASKS_MAX}, not {max_parallel}")
    if max_failed is not None and not 0 <= max_failed <= TASKS_MAX:
        return inventory.invalid(f"max_failed must be between 0 and {TASKS_MAX}, not {max_failed}")
    if not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        return inventory.invalid(
            f"priority must be between -{PRIORITY_MAX} and {PRIORITY_MAX}, not {priority}"
        )
    if len(draft.running) >= JOBS_RUNNING_MAX:
        return Rejected(
            reason=Reason.LIMIT,
            message=f"{JOBS_RUNNING_MAX} jobs are running already",
            hint="wait for one to end, or cancel one",
        )
    return None


def bad_deadline(deadline_s: float) -> Rejected | None:
    """Refuse a time for each task that nobody could keep."""
    if 0 <= deadline_s <= DEADLINE_S_MAX:
        return None
    return inventory.invalid(f"a task's deadline is {deadline_s:g} s; give 0 to {DEADLINE_S_MAX:g}")


def bad_rollout(command: SubmitJob, nodes: int) -> Rejected | None:
    """Refuse a strategy that contradicts itself or does not fit so many nodes."""
    wrong = rollout.problems(
        command.rollout, nodes=nodes, max_parallel=command.max_parallel, max_failed=command.max_failed
    )
    if not wrong:
        return None
    return inventory.invalid("; ".join(wrong), hint="nothing was begun; mend the strategy and ask again")


def chosen(draft: Draft, command: SubmitJob) -> list[Node] | Rejected:
    """Return the nodes that were named or selected; refuse unknown ones and an empty choice."""
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


def not_now(draft: Draft, command: SubmitJob, nodes: list[Node]) -> Rejected | None:
    """Refuse nodes in the wrong status, cordoned or out of reach; those that are locked are judged later."""

    def refuse(
        reason: Reason, says: Callable[[Node], str], broken: Callable[[Node], bool], hint: str
    ) -> Rejected | None:
        bad = [node for node in nodes if not node.job and broken(node)]
        if not bad:
            return None
        message = "; ".join(f"{node.name} {says(node)}" for node in bad)
        return Rejected(reason=reason, message=message, offenders=tuple(n.name for n in bad), hint=hint)

    allowed = ALLOWED[command.kind]
    statuses = ", ".join(allowed)
    return (
        refuse(
            Reason.WRONG_STATUS,
            lambda n: f"is {n.status}",
            lambda n: n.status not in allowed,
            f"{command.kind} is for nodes that are: {statuses}",
        )
        or refuse(
            Reason.IN_MAINTENANCE,
            lambda n: f"is in maintenance: {n.maintenance.reason if n.maintenance else ''}",
            lambda n: command.kind not in blocking.PASS_CORDONS and inventory.in_maintenance(n, draft.at),
            "end it with `hamgr node maintenance off NODE`, or `hamgr node undrain NODE` if it was drained",
        )
        or refuse(
            Reason.UNREACHABLE,
            lambda n: f"is unreachable: {n.presence_reason}",
            lambda n: n.presence is Presence.UNREACHABLE and not debts.asked(command),
            "bring it back and run `hamgr discover ADDRESS`, or leave it out"
            + (", or let it owe this: --offline owe" if command.kind is JobKind.UPGRADE else ""),
        )
    )


def still_possible(draft: Draft, job: Job) -> Rejected | None:
    """Refuse a job that was made from another one, naming the nodes on which it could not begin."""
    bad = [
        (name, why)
        for name, task in job.tasks.items()
        if (why := blocking.unfit(draft.view, job, task, draft.at))
    ]
    if not bad:
        return None
    message = "; ".join(f"{name}: {why}" for name, why in bad)
    hint = "bring them into a state in which that is possible, or ask for the others by name"
    return Rejected(
        reason=Reason.WRONG_STATUS, message=message, offenders=tuple(name for name, _ in bad), hint=hint
    )


def bundle_for(draft: Draft, command: SubmitJob) -> Digest | Rejected:
    """Return the bundle of the job, empty where each node has its own; refuse one that is not there."""
    if command.kind in phases.KEEP_BUNDLE:
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


def bad_roles(draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest) -> Rejected | None:
    """Refuse nodes without a role, roles that the bundle lacks, and roles that nothing verifies."""
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
    if command.kind in (JobKind.DECOMMISSION, JobKind.DRAIN):
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


def breaks_requirement(
    draft: Draft, command: SubmitJob, nodes: list[Node], bundle: Digest
) -> Rejected | None:
    """Refuse what would leave nodes in service without what their role requires."""
    hint = ""
    if command.kind is JobKind.COMMISSION:
        added = {node.name: command.role or node.role for node in nodes}
        broken = requirements.refusal_of_addition(draft.before, added, bundle)
    elif command.kind is JobKind.DECOMMISSION:
        broken = requirements.refusal_of_removal(draft.before, [node.name for node in nodes])
    elif command.kind is JobKind.UPGRADE:
        broken = requirements.refusal_of_upgrade(draft.before, nodes, bundle)
        if not broken and not command.rollout.below_minimum:
            broken = requirements.refusal_of_stops(draft.before, nodes)
            hint = "put one more into service first, or accept the gap: --below-minimum"
    elif command.kind is JobKind.DRAIN and not command.rollout.below_minimum:
        broken = requirements.refusal_of_rest(draft.before, [node.name for node in nodes])
        hint = "drain fewer at once, undrain others first, or accept the gap: --below-minimum"
    else:
        return None
    if not broken:
        return None
    return Rejected(
        reason=Reason.REQUIREMENT,
        message="; ".join(broken),
        offenders=tuple(node.name for node in nodes),
        hint=hint,
    )

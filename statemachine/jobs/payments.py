"""Rules for paying debts: a node that is back does what it missed, by a job of its own.

1. There are `PAYMENTS_RUNNING_MAX` payments at a time, so that a rack that comes back leaves room for people.
2. A node that falls silent again is asked later and later, an hour apart at most.
3. A payment that failed waits for an operator: an upgrade of that node, or forgiveness.
"""

from statemachine.commands import ForgiveDebt, PayDebt
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.jobs import admission
from statemachine.model import ERROR_CHARS_MAX, Debt, Job, Node, Task
from statemachine.nodes import inventory
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.rollouts import blocking, debts, waves
from statemachine.rollouts.gates import holds_at_first
from statemachine.words import JobId, JobKind, JobState

PAYMENTS_RUNNING_MAX = 16
PAUSE_S_MIN = 60.0
PAUSE_S_MAX = 3_600.0


def pay_debt(draft: Draft, command: PayDebt) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return inventory.no_such_node(command.node)
    debt = node.debt
    if debt is None or not debts.can_pay(draft.before, node, draft.at):
        return Rejected(
            reason=Reason.STALE_CLAIM,
            message=f"there is nothing that {node.name} could pay now",
            offenders=(node.name,),
        )
    if refusal := admission.bad_numbers(draft, 0, None, 0) or _too_many(draft):
        return refusal
    job = _payment(draft, node, debt)
    if why := blocking.unfit(draft.before, job, job.tasks[node.name], draft.at):
        draft.put_node(replace(node, debt=replace(debt, error=why[:ERROR_CHARS_MAX])))
        draft.event("node.debt", node.name, f"cannot pay what it owes to {debt.job}: {why}")
        return Accepted(index=draft.index, ref=node.name)
    pause_s = min(PAUSE_S_MIN * 2 ** min(debt.tries, 16), PAUSE_S_MAX)
    debt = replace(debt, paid_by=job.id, tries=debt.tries + 1, not_before=draft.at + pause_s)
    draft.put_node(replace(node, debt=debt))
    draft.event("node.debt", node.name, f"is back, and pays what it owes to {debt.job}", job=job.id)
    return waves.take_up(draft, job)


def _too_many(draft: Draft) -> Rejected | None:
    running = sum(1 for node in draft.nodes.values() if node.debt and node.debt.paid_by in draft.running)
    if running < PAYMENTS_RUNNING_MAX:
        return None
    return Rejected(reason=Reason.LIMIT, message=f"{PAYMENTS_RUNNING_MAX} nodes pay at the moment already")


def _payment(draft: Draft, node: Node, debt: Debt) -> Job:
    return Job(
        id=draft.next_job_id(),
        kind=JobKind.UPGRADE,
        actor=draft.actor,
        reason=f"owed to {debt.job}, asked for by {debt.actor}",
        bundle=debt.bundle,
        variables=debt.variables,
        max_parallel=1,
        max_failed=0,
        rollout=debt.rollout,
        priority=debt.priority,
        tasks={node.name: Task(node=node.name)},
        holds=holds_at_first(debt.rollout.windows, 0.0, draft.at),
        submitted_at=draft.at,
        owes=True,
    )


def forgive_debt(draft: Draft, command: ForgiveDebt) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return inventory.no_such_node(command.node)
    if node.debt is None:
        return Rejected(
            reason=Reason.WRONG_STATUS, message=f"node {node.name} owes nothing", offenders=(node.name,)
        )
    payment = draft.jobs.get(node.debt.paid_by)
    if payment is not None and payment.state is JobState.RUNNING:
        return _being_paid(node, payment.id)
    draft.put_node(replace(node, debt=None))
    why = f": {command.reason}" if command.reason else ""
    draft.event("node.debt", node.name, f"is forgiven what it owes to {node.debt.job}{why}")
    return Accepted(index=draft.index, ref=node.name)


def _being_paid(node: Node, job: JobId) -> Rejected:
    return Rejected(
        reason=Reason.BUSY,
        message=f"node {node.name} is paying what it owes, by job {job}",
        offenders=(node.name,),
        hint=f"wait for it, or cancel it: `hamgr job cancel {job}`",
    )

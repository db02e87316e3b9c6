"""The leader's duties beside the jobs: each waits for its moment and tells the log."""

import asyncio

from backends.ports import BackendError
from hamgr.jobs.windows import BadWindow, newest_moment, next_moment
from hamgr.jobs.worker import Tools, host_of
from statemachine.commands import ExpireMaintenance, PayDebt, ReportPresence
from statemachine.jobs.upkeep import CordonDue, DebtsDue, Duty, ScheduleDue
from statemachine.outcomes import Rejected
from statemachine.rollouts import debts
from statemachine.schedule import LATE_S_MAX
from statemachine.schedule_commands import FireSchedule, PauseSchedule
from statemachine.words import NodeName, Presence

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""
PROBE_TIMEOUT_S = 15.0
PROBES_PARALLEL = 8
PROBE_PAUSE_S = 10.0
"""After a round of looking for nodes that owe something."""
LOOK_S = 0.5
"""How often, within that pause, it is looked whether somebody else has met one of them."""


async def see_to(tools: Tools, duty: Duty) -> None:
    """Do a duty whose moment has come; wait for it, `SLEEP_S_MAX` at most, where it has not.

    Raises:
        NotInCharge: This replica does not lead any more.
    """
    if isinstance(duty, CordonDue):
        await _expire(tools, duty)
    elif isinstance(duty, DebtsDue):
        await _collect(tools)
    else:
        await _fire(tools, duty)


async def _expire(tools: Tools, due: CordonDue) -> None:
    if await _early(tools, due.at):
        return
    await tools.proposer.settle(tools.proposer.make(ExpireMaintenance, node=due.node))


async def _early(tools: Tools, at: float) -> bool:
    """Sleep for a while when the moment has not come; the manager comes back as long as something is due."""
    wait_s = at - tools.clock.now()
    if wait_s <= 0:
        return False
    await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
    return True


async def _collect(tools: Tools) -> None:
    """Have nodes pay that can; look once for those that are missing, and rest until somebody is back."""
    for name in debts.payable(tools.replica.state, tools.clock.now()):
        outcome = await tools.proposer.settle(tools.proposer.make(PayDebt, node=name))
        if isinstance(outcome, Rejected):
            break  # too many at once; the others' turn comes
    missing = debts.missing(tools.replica.state)
    slots = asyncio.Semaphore(PROBES_PARALLEL)
    async with asyncio.TaskGroup() as group:
        for name in missing:
            group.create_task(_look_for(tools, name, slots))
    rest_until = asyncio.get_running_loop().time() + PROBE_PAUSE_S
    while asyncio.get_running_loop().time() < rest_until:
        await asyncio.sleep(LOOK_S)
        if debts.payable(tools.replica.state, tools.clock.now()):
            return


async def _look_for(tools: Tools, name: NodeName, slots: asyncio.Semaphore) -> None:
    """Ask a silent node whether it is back, and is still the machine that we know."""
    async with slots:
        node = tools.replica.state.nodes.get(name)
        if node is None or not node.host_key:
            return
        try:
            report = await tools.executor.probe(host_of(node), timeout_s=PROBE_TIMEOUT_S)
        except BackendError:
            return
    if report.machine_id != node.machine_id or report.host_key != node.host_key:
        return  # another machine has the address: discovery tells what to do about that
    command = tools.proposer.make(
        ReportPresence, node=name, presence=Presence.REACHABLE, reason="it owes an upgrade, and answered"
    )
    await tools.proposer.settle(command)


async def _fire(tools: Tools, due: ScheduleDue) -> None:
    """Say that a moment has come; of several that were missed, only the newest one is made up for."""
    if await _early(tools, due.at):
        return
    schedule = tools.replica.state.schedules.get(due.name)
    if schedule is None or schedule.next_at != due.at:
        return
    now = tools.clock.now()
    try:
        moment, following = await asyncio.to_thread(_worked_out, schedule.cron, schedule.zone, due.at, now)
    except BadWindow as error:
        reason = f"replica {tools.replica.name} cannot tell when it is due: {error}"
        stop = tools.proposer.make(PauseSchedule, name=due.name, on=True, reason=reason)
        await tools.proposer.settle(stop)
        return
    command = tools.proposer.make(
        FireSchedule, name=due.name, due=due.at, moment=moment, next_at=following or 0.0
    )
    await tools.proposer.settle(command)


def _worked_out(cron: str, zone: str, due: float, now: float) -> tuple[float, float | None]:
    """Return the newest moment from `due` to `now`, if that is recent, else `due`; and the next one."""
    recent = newest_moment(cron, zone, max(due, now - LATE_S_MAX), now)
    return (due if recent is None else recent), next_moment(cron, zone, now)

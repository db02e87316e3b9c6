"""The leader's duties to nodes beside the jobs: maintenance ends in time, and debts are collected."""

import asyncio

from backends.ports import BackendError
from hamgr.jobs.worker import Tools, host_of
from statemachine.commands import ExpireMaintenance, PayDebt, ReportPresence
from statemachine.jobs.upkeep import CordonDue
from statemachine.outcomes import Rejected
from statemachine.rollouts import debts
from statemachine.words import NodeName, Presence

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""
PROBE_TIMEOUT_S = 15.0
PROBES_PARALLEL = 8
PROBE_PAUSE_S = 10.0
"""After a round of looking for nodes that owe something."""
LOOK_S = 0.5
"""How often, within that pause, it is looked whether somebody else has met one of them."""


async def expire(tools: Tools, due: CordonDue) -> None:
    """End a maintenance whose time is over; wait for that, `SLEEP_S_MAX` at most, where it is not.

    Raises:
        NotInCharge: This replica does not lead any more.
    """
    wait_s = due.at - tools.clock.now()
    if wait_s > 0:
        await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
        return  # the manager comes back as long as something is due
    await tools.proposer.settle(tools.proposer.make(ExpireMaintenance, node=due.node))


async def collect(tools: Tools) -> None:
    """Have nodes pay that can; look once for those that are missing, and rest until somebody is back.

    Raises:
        NotInCharge: This replica does not lead any more.
    """
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

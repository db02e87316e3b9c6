"""The leader's duties beside the jobs: each waits for its moment and tells the log."""

import asyncio

from hamgr.jobs.worker import Tools
from statemachine.commands import ExpireMaintenance
from statemachine.upkeep import CordonDue, Duty

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""


async def see_to(tools: Tools, duty: Duty) -> None:
    """Do a duty whose moment has come; wait for it, `SLEEP_S_MAX` at most, where it has not.

    Raises:
        NotInCharge: This replica does not lead any more.
    """
    if isinstance(duty, CordonDue):
        await _expire(tools, duty)


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

"""The leader's look at schedules: their moments by its calendar, and which of them has come.

1. Of several moments that were missed, only the newest one is made up for.
2. When this replica begins to lead, and when its clock was set, all schedules are looked at: one that waits
   for a moment too far ahead was planned by a clock that was wrong, and is planned anew.
3. As with cron(8), a correction of less than `REPEATED_S` is waited for, so that no moment comes twice.
"""

import asyncio
from collections.abc import Iterable

from hamgr.clock import Setting
from hamgr.jobs.windows import BadWindow, newest_moment, next_moment
from hamgr.jobs.worker import Tools
from statemachine.jobs.upkeep import ScheduleDue
from statemachine.schedule import LATE_S_MAX, Schedule
from statemachine.schedule_commands import FireSchedule, PauseSchedule, ReplanSchedule

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""
REPEATED_S = 3 * 3_600.0
"""Moments this near may have come before, by a clock that was ahead."""


class Calendar:
    """Waits for the moments of all schedules of one leader; made anew for each leadership."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._setting = Setting(tools.clock)

    async def see_to(self, due: ScheduleDue) -> None:
        """Say that a moment has come; wait for it, `SLEEP_S_MAX` at most, where it has not.

        Raises:
            NotInCharge: This replica does not lead any more.
        """
        if self._setting.noticed():
            await self._plan_anew()
            return  # another schedule may be the first now
        wait_s = due.at - self._tools.clock.now()
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
            return  # the manager comes back as long as something is due
        schedule = self._tools.replica.state.schedules.get(due.name)
        if schedule is not None and schedule.next_at == due.at:
            await self._fire(schedule)

    async def _fire(self, schedule: Schedule) -> None:
        tools, due, now = self._tools, schedule.next_at, self._tools.clock.now()
        try:
            moment, following = await asyncio.to_thread(_newest, schedule, now)
        except BadWindow as error:
            reason = f"replica {tools.replica.name} cannot tell when it is due: {error}"
            stop = tools.proposer.make(PauseSchedule, name=schedule.name, on=True, reason=reason)
            await tools.proposer.settle(stop)
            return
        command = tools.proposer.make(
            FireSchedule, name=schedule.name, due=due, moment=moment, next_at=following or 0.0
        )
        await tools.proposer.settle(command)

    async def _plan_anew(self) -> None:
        tools = self._tools
        waiting = [one for one in tools.replica.state.schedules.values() if one.next_at and not one.paused]
        for schedule, moment in await asyncio.to_thread(_too_far, waiting, tools.clock.now()):
            command = tools.proposer.make(
                ReplanSchedule, name=schedule.name, due=schedule.next_at, next_at=moment
            )
            await tools.proposer.settle(command)


def _newest(schedule: Schedule, now: float) -> tuple[float, float | None]:
    """Return the newest moment up to `now`, if that is recent, else the one waited for; and the next one."""
    since = max(schedule.next_at, now - LATE_S_MAX)
    recent = newest_moment(schedule.cron, schedule.zone, since, now)
    return (
        schedule.next_at if recent is None else recent,
        next_moment(schedule.cron, schedule.zone, now),
    )


def _too_far(schedules: Iterable[Schedule], now: float) -> list[tuple[Schedule, float]]:
    """Return the schedules that wait for a moment although there is an earlier one, with that one."""
    found = []
    for schedule in schedules:
        try:
            moment = next_moment(schedule.cron, schedule.zone, now + REPEATED_S)
        except BadWindow:
            continue  # it is paused, with the reason, when its moment comes
        if moment is not None and moment < schedule.next_at:
            found.append((schedule, moment))
    return found

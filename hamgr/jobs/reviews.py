"""The leader's look at the clock for jobs: windows that open and close, starts, progress deadlines.

1. For how long nothing has ended in a job is counted by the loop's clock, which is never set.
2. Calendars go by the machine's clock: when that was set, and when this replica begins to lead, each job is
   looked at anew, whatever is due by the stamps in it.
"""

import asyncio
import logging
from dataclasses import dataclass

from hamgr.clock import Setting
from hamgr.jobs.windows import BadWindow, Opening, opening
from hamgr.jobs.worker import Tools
from statemachine.commands import ReviewJob
from statemachine.model import Job
from statemachine.rollouts import gates
from statemachine.words import JobId, JobState

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What this leader knows of a job: when something ended in it, by the log and on the loop's clock."""

    setting: Setting
    progressed_at: float = -1.0
    quiet_since: float = 0.0


class Reviewer:
    """Looks at the clock for all jobs of one leader; made anew for each leadership."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._seen: dict[JobId, _Seen] = {}

    async def review(self, job_id: JobId) -> None:
        """Wait until the clock decides something about a job, for `SLEEP_S_MAX` at most, and tell the log.

        Raises:
            NotInCharge: This replica does not lead any more.
        """
        state = self._tools.replica.state
        job = state.jobs.get(job_id)
        due_at = gates.review_due(job) if job is not None and job.state is JobState.RUNNING else None
        for ended in self._seen.keys() - set(state.running):
            del self._seen[ended]
        if job is None or due_at is None:
            return
        quiet_s = self._quiet_s(job)
        wait_s = due_at - self._tools.clock.now()
        if job.rollout.progress_deadline_s and not job.holds:
            wait_s = min(wait_s, job.rollout.progress_deadline_s - quiet_s)
        if not self._seen[job_id].setting.noticed() and wait_s > 0:
            await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
            return  # the manager comes back as long as something is due
        await self._tell(job, quiet_s)

    def _quiet_s(self, job: Job) -> float:
        """Return for how long nothing has ended in `job`; a new leader believes a stamp that is recent."""
        loop_now = asyncio.get_running_loop().time()
        seen = self._seen.setdefault(job.id, _Seen(Setting(self._tools.clock)))
        if seen.progressed_at != job.progressed_at or job.holds:
            quiet_s = self._tools.clock.now() - job.progressed_at
            recent = 0 <= quiet_s < job.rollout.progress_deadline_s and not job.holds
            seen.progressed_at = job.progressed_at
            seen.quiet_since = loop_now - (quiet_s if recent else 0.0)
        return loop_now - seen.quiet_since

    async def _tell(self, job: Job, quiet_s: float) -> None:
        now = self._tools.clock.now()
        try:
            found = opening(job.rollout.windows, now)
        except BadWindow:
            log.exception("the windows of job %s cannot be read here, so none counts as open", job.id)
            found = Opening(open_until=None, opens_at=now + SLEEP_S_MAX)
        proposer = self._tools.proposer
        await proposer.settle(
            proposer.make(
                ReviewJob,
                job=job.id,
                open_until=found.open_until,
                opens_at=found.opens_at,
                quiet_s=quiet_s,
            )
        )

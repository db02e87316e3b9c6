"""The leader's look at the clock for one job: windows that open and close, starts, progress deadlines."""

import asyncio
import logging

from hamgr.jobs.windows import BadWindow, Opening, opening
from hamgr.jobs.worker import Tools
from statemachine.commands import ReviewJob
from statemachine.rollouts import gates
from statemachine.words import JobId, JobState

SLEEP_S_MAX = 5.0
"""The longest sleep: what is due can move closer while nobody looks."""

log = logging.getLogger(__name__)


async def review(tools: Tools, job_id: JobId) -> None:
    """Wait until the clock decides something about a job, for `SLEEP_S_MAX` at most, and tell the log.

    Raises:
        NotInCharge: This replica does not lead any more.
    """
    job = tools.replica.state.jobs.get(job_id)
    due_at = gates.review_due(job) if job is not None and job.state is JobState.RUNNING else None
    if job is None or due_at is None:
        return
    wait_s = due_at - tools.clock.now()
    if wait_s > 0:
        await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
        return  # the manager comes back as long as something is due
    try:
        found = opening(job.rollout.windows, tools.clock.now())
    except BadWindow:
        log.exception("the windows of job %s cannot be read here, so none counts as open", job_id)
        found = Opening(open_until=None, opens_at=tools.clock.now() + SLEEP_S_MAX)
    command = tools.proposer.make(ReviewJob, job=job_id, open_until=found.open_until, opens_at=found.opens_at)
    await tools.proposer.settle(command)

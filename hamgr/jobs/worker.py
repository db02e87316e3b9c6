"""One task on one node: claim it, fence the node, then one owed attempt after another until it ends.

    claim in the log -> fence on the node -> announce -> run or adopt -> record -> next owed attempt

1. The first act on the node is the fence, under the number that the claim was given; from then on no
   earlier leader can start or kill anything there.
   A job that only verifies looks instead (`glance`), and fences a node only where it has to run something.
2. What to do next is read from the state each time, never remembered: a worker that is killed anywhere
   leaves nothing behind that its successor needs.
3. When the log or the node says that somebody else is in charge, the worker ends without another word.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from backends.ports import Host, NodeExecutor, StaleEpoch
from hamgr.clock import Clock
from hamgr.failpoints import Failpoints
from hamgr.jobs.attempt import Attempt, AttemptSettings, GaveUp, NodeCalls, OrderUnderWay, ended
from hamgr.jobs.glance import Glance, suffices
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.scripts import CannotPrepare, ScriptSource
from hamgr.raft.port import NoLeader, Replica
from statemachine.commands import ClaimTask, FinishAttempt, StartAttempt
from statemachine.jobs import work
from statemachine.jobs.tasks import delay_s_max
from statemachine.jobs.work import StepDue
from statemachine.model import Node, Result, State
from statemachine.outcomes import Accepted
from statemachine.words import Ending, JobId, NodeName, Phase

READ_TIMEOUT_S = 10.0


async def _nothing(_node: NodeName) -> None:
    """Do nothing."""


def _as_it_is(_node: NodeName, _job: JobId, text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every worker of a manager uses.

    Attributes:
        before_fence: What has to be done for a node before its runner may discard old results.
        conceal: Takes secrets out of a sentence about a job on a node, before it is proposed.
    """

    replica: Replica
    proposer: Proposer
    executor: NodeExecutor
    scripts: ScriptSource
    clock: Clock
    failpoints: Failpoints
    settings: AttemptSettings
    before_fence: Callable[[NodeName], Awaitable[None]] = _nothing
    conceal: Callable[[NodeName, JobId, str], str] = _as_it_is


def host_of(node: Node) -> Host:
    """Return where and who a node is, for the executor."""
    return Host(
        name=node.name,
        address=node.endpoint.address,
        port=node.endpoint.port,
        user=node.endpoint.user,
        host_key=node.host_key,
    )


def node_job(state: State, job: JobId) -> str:
    """Return the job's name on the nodes: unique even when another cluster counted to the same number."""
    return f"{state.cluster}-{job}"


class TaskWorker:
    """Does one task, as far as it can under one claim."""

    def __init__(self, *, tools: Tools, job: JobId, node: NodeName, claimant: str) -> None:
        self._tools = tools
        self._job = job
        self._node = node
        self._claimant = claimant
        self._fenced = False
        self.stopping = asyncio.Event()
        """Set by the manager when an operator cancelled the job."""

    def _reach(self, boundary: str, step: str = "") -> None:
        self._tools.failpoints(boundary, f"{self._job}/{self._node}/{step}")

    async def run(self) -> None:
        """Work until the task has ended, or somebody else has it.

        Raises:
            NotInCharge: This replica does not lead any more.
        """
        tools = self._tools
        self._reach("claiming")
        claim = tools.proposer.make(ClaimTask, job=self._job, node=self._node, claimant=self._claimant)
        outcome = await tools.proposer.settle(claim)
        if not isinstance(outcome, Accepted):
            return
        epoch = outcome.epoch
        self._reach("claimed")
        due = self._due(epoch)
        if due is None:
            return
        calls = NodeCalls(
            executor=tools.executor,
            host=lambda: host_of(tools.replica.state.nodes[self._node]),
            epoch=epoch,
            job=node_job(tools.replica.state, self._job),
            settings=tools.settings,
        )
        try:
            while due is not None:
                if not self._looks(due):
                    await self._fence(calls, due)
                result = await self._attempt(calls, due, epoch)
                if result is None or not await self._record(result, epoch):
                    return
                self._reach("recorded", due.key)
                due = self._due(epoch)
        except StaleEpoch as error:
            await self._outranked(error, epoch)
        except GaveUp as error:
            await self._give_up(error.ending, error.error, epoch)
        except OrderUnderWay:
            return  # the manager begins anew, under the next epoch

    def _looks(self, due: StepDue) -> bool:
        """Say whether the node need not be fenced for what is owed."""
        return suffices(self._tools.replica.state.jobs[self._job], self._node, due)

    async def _fence(self, calls: NodeCalls, due: StepDue) -> None:
        """Have the node refuse earlier leaders, once under a claim."""
        if self._fenced:
            return
        await self._tools.before_fence(self._node)
        calls.expect_restart(due, self._tools.clock.now())
        await calls.fence()
        self._fenced = True
        self._reach("fenced")

    def _due(self, epoch: int) -> StepDue | None:
        return work.step_due(self._tools.replica.state, self._job, self._node, epoch)

    async def _attempt(self, calls: NodeCalls, due: StepDue, epoch: int) -> Result | None:
        """Carry the owed attempt out; None when the claim is no longer ours."""
        tools = self._tools
        if due.stop and due.launched_at is None:
            return ended(due, Ending.CANCELLED, "an operator cancelled the job")
        if due.launched_at is None and not await self._wait_until(due):
            return ended(due, Ending.CANCELLED, "an operator cancelled the job")
        script: bytes | None = None
        try:
            script = await tools.scripts.script(tools.replica.state, self._job, self._node, due)
        except CannotPrepare as error:
            if due.launched_at is None:
                return ended(due, Ending.NOT_RUN, str(error))
        launched_at = due.launched_at
        if launched_at is None:
            launched_at = tools.clock.now()
            start = tools.proposer.make(
                StartAttempt, job=self._job, node=self._node, epoch=epoch, step=due.key, attempt=due.attempt
            )
            if not isinstance(await tools.proposer.settle(start), Accepted):
                return None
        self._reach("announced", due.key)
        if due.stop:
            self.stopping.set()
        result = None
        if script is not None and self._looks(due):
            result = await self._glance(calls, due, script, launched_at, epoch)
        if result is None:
            await self._fence(calls, due)
            calls.expect_restart(due, tools.clock.now())
            attempt = Attempt(calls=calls, clock=tools.clock, stopping=self._stopping(due))
            result = await attempt.finish(due, script, launched_at)
        self._reach("ended", due.key)
        return result

    async def _glance(
        self, calls: NodeCalls, due: StepDue, script: bytes, launched_at: float, epoch: int
    ) -> Result | None:
        glance = Glance(
            calls=calls,
            clock=self._tools.clock,
            stopping=self._stopping(due),
            epoch=epoch,
            conceal=lambda text: self._tools.conceal(self._node, self._job, text),
        )
        return await glance.finish(due, script, launched_at)

    def _stopping(self, due: StepDue) -> asyncio.Event:
        """Return what stops this step: a cancelled job stops its work, but never the undo of it."""
        return asyncio.Event() if due.step.phase in (Phase.UNDO, Phase.REVERIFY) else self.stopping

    async def _wait_until(self, due: StepDue) -> bool:
        """Wait for a back-off, or while a node soaks; False when the job was cancelled meanwhile."""
        job = self._tools.replica.state.jobs[self._job]
        delay_s = min(due.not_before - self._tools.clock.now(), delay_s_max(job))  # clocks may disagree
        if delay_s <= 0:
            return True
        try:
            # not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event
            async with asyncio.timeout(delay_s):
                await self._stopping(due).wait()
        except TimeoutError:
            return True
        return False

    async def _record(self, result: Result, epoch: int) -> bool:
        result = replace(result, error=self._tools.conceal(self._node, self._job, result.error))
        finish = self._tools.proposer.make(
            FinishAttempt, job=self._job, node=self._node, epoch=epoch, result=result
        )
        return isinstance(await self._tools.proposer.settle(finish), Accepted)

    async def _give_up(self, ending: Ending, error: str, epoch: int) -> None:
        due = self._due(epoch)
        if due is not None:
            await self._record(ended(due, ending, error), epoch)

    async def _outranked(self, error: StaleEpoch, epoch: int) -> None:
        """Tell a newer leader of ours, who goes on, from a stranger, whom only an operator can deal with."""
        try:
            state = await self._tools.replica.read(timeout_s=READ_TIMEOUT_S)
        except NoLeader:
            return
        if state.nodes[self._node].epoch != epoch:
            return
        why = (
            f"the node has seen epoch {error.fence}, and this cluster counts {epoch}: another cluster works "
            "on it, or this one was restored; look, then run `hamgr discover` for its address"
        )
        await self._give_up(Ending.REFUSED, why, epoch)

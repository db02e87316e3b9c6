"""A leader that obeys `pending` and `step_due` with any luck at all, until nothing is owed."""

from random import Random

from statemachine import work
from statemachine.commands import (
    CancelJob,
    ClaimTask,
    FinishAttempt,
    ReportPresence,
    ReportSighting,
    ReportSilence,
    Sighting,
    StartAttempt,
)
from statemachine.model import Result
from statemachine.outcomes import Accepted
from statemachine.words import Ending, JobId, Presence
from tests.statemachine.fleet import Fleet, key_of

ROUNDS_MAX = 400
"""More rounds than any job of these stories can need; a job that takes more would go on for ever."""
BAD = (
    Ending.LOST,
    Ending.TIMED_OUT,
    Ending.UNREACHABLE,
    Ending.REFUSED,
    Ending.CANCELLED,
    Ending.NOT_RUN,
    Ending.EXITED,
)


class Driver:
    """Does what is due, one thing a round, and lets things fail.

    Args:
        bad_percent: How often an attempt ends in one of `BAD`.
        cancel_percent: How often, in a round, somebody cancels a job.
    """

    def __init__(self, fleet: Fleet, rng: Random, *, bad_percent: int, cancel_percent: int = 0) -> None:
        self.fleet = fleet
        self._rng = rng
        self._bad_percent = bad_percent
        self._cancel_percent = cancel_percent
        self.rounds = 0

    def run(self) -> None:
        """Go on until nothing is due; raises `AssertionError` when that takes too long."""
        while due := work.pending(self.fleet.state):
            self.rounds += 1
            assert self.rounds <= ROUNDS_MAX, f"still due after {ROUNDS_MAX} rounds: {due}"
            if self._odds(self._cancel_percent):
                self.fleet.send(CancelJob, job=self._rng.choice(due).job)
                continue
            one = self._rng.choice(due)
            self.fleet.passed_time(1.0)
            if isinstance(one, work.ProbeDue):
                self._probe(one)
            else:
                self._task(one)

    def _odds(self, percent: int) -> bool:
        return self._rng.randrange(100) < percent

    def _probe(self, due: work.ProbeDue) -> None:
        if self._odds(self._bad_percent):
            self.fleet.accept(ReportSilence, job=due.job, task=due.task, error="no answer", silent=True)
            return
        name = due.endpoint.address.removesuffix(".example")
        sighting = Sighting(
            endpoint=due.endpoint, name=name, machine_id=f"id-{name}", host_key=key_of(name), epoch=0
        )
        self.fleet.accept(ReportSighting, job=due.job, task=due.task, sighting=sighting)

    def _task(self, due: work.TaskDue) -> None:
        step = work.step_due(self.fleet.state, due.job, due.node, due.epoch)
        if step is None or self._odds(10):
            claimed = self.fleet.send(ClaimTask, job=due.job, node=due.node, claimant="replica-2/9")
            assert isinstance(claimed, Accepted), claimed
            return
        where = {"job": due.job, "node": due.node, "epoch": due.epoch}
        if step.stop:
            self._finish(due, step, Result(step=step.key, attempt=step.attempt, ending=Ending.CANCELLED))
        elif step.launched_at is None and not self._odds(self._bad_percent // 2):
            self.fleet.accept(StartAttempt, **where, step=step.key, attempt=step.attempt)
        else:
            self._finish(due, step, self._result(step))

    def _result(self, step: work.StepDue) -> Result:
        launched = step.launched_at is not None
        ending = self._rng.choice(BAD) if self._odds(self._bad_percent) else Ending.EXITED
        if not launched and ending not in (Ending.REFUSED, Ending.NOT_RUN):
            ending = Ending.UNREACHABLE
        code = 1 if self._odds(self._bad_percent) else 0
        return Result(
            step=step.key,
            attempt=step.attempt,
            ending=ending,
            exit_code=code if ending is Ending.EXITED else None,
        )

    def _finish(self, due: work.TaskDue, step: work.StepDue, result: Result) -> None:
        self.fleet.accept(FinishAttempt, job=due.job, node=due.node, epoch=due.epoch, result=result)
        if result.ending is Ending.UNREACHABLE and self._odds(70):
            self.fleet.accept(ReportPresence, node=due.node, presence=Presence.REACHABLE)

    def ended(self, job: str) -> bool:
        return JobId(job) not in self.fleet.state.running

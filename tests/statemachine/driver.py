"""A leader that obeys `pending` and `step_due` with any luck at all, and operators, until nothing is owed."""

from random import Random

from statemachine.commands import (
    CancelJob,
    ClaimTask,
    Command,
    FinishAttempt,
    PauseJob,
    PromoteJob,
    ReportPresence,
    ResumeJob,
    ReviewJob,
    StartAttempt,
)
from statemachine.discovery_commands import ReportSighting, ReportSilence, Sighting
from statemachine.jobs import work
from statemachine.model import Job, Result, State
from statemachine.outcomes import Outcome, Reason, Rejected
from statemachine.rollout import HoldKind
from statemachine.words import Ending, JobId, Presence
from tests.statemachine.due_laws import due_laws
from tests.statemachine.fleet import Fleet, key_of
from tests.statemachine.rollout_laws import Ledger
from tests.statemachine.strategies import WINDOW_S

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


class JudgedFleet(Fleet):
    """A fleet whose jobs are held against the laws of rollouts after every command."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.ledger = Ledger()

    def apply(self, command: Command) -> Outcome:
        before = self.state
        outcome = super().apply(command)
        broken = [*self.ledger.entry(before, command, self.state, outcome), *due_laws(self.state)]
        assert not broken, "\n".join(broken)
        return outcome


class Driver:
    """Does what is due, one thing a round, and lets things fail.

    Args:
        bad_percent: How often an attempt ends in one of `BAD`.
        cancel_percent: How often, in a round, somebody cancels a job.
        steer_percent: How often, in a round, somebody pauses a job, or lets one go on that is held.
    """

    def __init__(
        self, fleet: Fleet, rng: Random, *, bad_percent: int, cancel_percent: int = 0, steer_percent: int = 0
    ) -> None:
        self.fleet = fleet
        self._rng = rng
        self._bad_percent = bad_percent
        self._cancel_percent = cancel_percent
        self._steer_percent = steer_percent
        self.rounds = 0

    def run(self) -> None:
        """Go on until no job runs; raises `AssertionError` when that takes too long, or nobody can help."""
        while running := self.fleet.state.running:
            self.rounds += 1
            due = work.pending(self.fleet.state)
            assert self.rounds <= ROUNDS_MAX, (
                f"still running after {ROUNDS_MAX} rounds: {running}, due: {due}"
            )
            if self._odds(self._cancel_percent):
                self.fleet.send(CancelJob, job=self._rng.choice(running))
                continue
            if self._odds(self._steer_percent):
                self.steer()
                continue
            now = [one for one in due if not isinstance(one, work.ReviewDue) or one.at <= self.fleet.at]
            if not now:
                self._wait(due)
                continue
            one = self._rng.choice(now)
            self.fleet.passed_time(200.0 if self._odds(self._steer_percent // 2) else 1.0)
            if isinstance(one, work.ProbeDue):
                self._probe(one)
            elif isinstance(one, work.ReviewDue):
                self._review(one)
            else:
                self._task(one)

    def _wait(self, due: tuple[work.Due, ...]) -> None:
        """Let the clock go on to what it decides next, or have somebody look at what is held."""
        moments = [one.at for one in due if isinstance(one, work.ReviewDue)]
        if moments and self._odds(50):
            self.fleet.at = max(self.fleet.at, min(moments))
        elif not self.steer(only_helpful=True):
            assert moments, f"nothing is due, and nobody can help: {self.fleet.state.running}"

    def steer(self, *, only_helpful: bool = False) -> bool:
        """Have an operator do something about a job that runs; return whether there was anything to do."""
        jobs = [self.fleet.job(job) for job in self.fleet.state.running]
        held = [job for job in jobs if any(hold.kind is not HoldKind.SCHEDULED for hold in job.holds)]
        if held and (only_helpful or self._odds(60)):
            self._help(self._rng.choice(held))
        elif not only_helpful and jobs:
            self.fleet.send(PauseJob, job=self._rng.choice(jobs).id)
        return bool(held)

    def _help(self, job: Job) -> None:
        kinds = {hold.kind for hold in job.holds}
        if self._odds(5):
            self.fleet.accept(CancelJob, job=job.id)
        elif HoldKind.CANARY in kinds:
            self.fleet.accept(PromoteJob, job=job.id)
        elif kinds & {HoldKind.PAUSED, HoldKind.FAILURES, HoldKind.STALLED}:
            self.fleet.accept(ResumeJob, job=job.id)

    def _review(self, due: work.ReviewDue) -> None:
        opens = self.fleet.at + WINDOW_S if self._odds(60) else None
        self.fleet.accept(
            ReviewJob,
            job=due.job,
            open_until=opens,
            opens_at=self.fleet.at + 5 * WINDOW_S,
            quiet_s=self._rng.choice((None, 1.0, 1e6)),
        )

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
            if isinstance(claimed, Rejected):  # the clock has to be looked at first
                assert claimed.reason is Reason.STALE_CLAIM
                assert self._review_overdue(due.job), claimed
            return
        where = {"job": due.job, "node": due.node, "epoch": due.epoch}
        if step.stop:
            self._finish(due, step, Result(step=step.key, attempt=step.attempt, ending=Ending.CANCELLED))
        elif step.launched_at is None and not self._odds(self._bad_percent // 2):
            self.fleet.accept(StartAttempt, **where, step=step.key, attempt=step.attempt)
        else:
            self._finish(due, step, self._result(step))

    def _review_overdue(self, job: JobId) -> bool:
        reviews = (one for one in work.pending(self.fleet.state) if isinstance(one, work.ReviewDue))
        return any(one.job == job and one.at <= self.fleet.at for one in reviews)

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

"""The laws of rollouts, held against what was asked for and what then began and ended.

1. A ledger is told of every entry in order. It writes down what a job was asked to do when it comes up; from
   then on it looks at nothing but which tasks begin and end, and what operators asked in between. Neither
   holds nor anything else that a job says of itself counts.
2. A task begins with the claim that is accepted first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from statemachine.commands import (
    CancelJob,
    ClaimTask,
    Command,
    PauseJob,
    PromoteJob,
    ResumeJob,
    ReviewJob,
    SubmitJob,
)
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import Job, Node, State
from statemachine.outcomes import Accepted, Outcome
from statemachine.rollout import OnFailure, Promotion, Rollout
from statemachine.words import TASK_ENDED, Digest, JobId, JobKind, NodeName, Presence, Status, TaskState

REVERSIBLE = (JobKind.UPGRADE, JobKind.COMMISSION)


@dataclass(slots=True, kw_only=True)
class Page:
    """What the ledger knows of one job.

    Attributes:
        order: Its nodes, in the order in which they were put.
        had: The good bundle of each node when its task began.
    """

    kind: JobKind
    rollout: Rollout
    parallel: int
    budget: int | None
    order: tuple[NodeName, ...]
    domains: dict[NodeName, str]
    bundles: dict[NodeName, Digest]
    submitted_at: float
    undoes: JobId = JobId("")
    running: set[NodeName] = field(default_factory=set)
    ended: dict[NodeName, tuple[TaskState, float]] = field(default_factory=dict)
    had: dict[NodeName, Digest] = field(default_factory=dict)
    paused: bool = False
    promoted: bool = False
    cancelled: bool = False
    started: bool = False
    over: str = ""
    forgiven: int = 0
    open_until: float | None = None

    def failed(self, nodes: tuple[NodeName, ...] | None = None) -> int:
        among = self.order if nodes is None else nodes
        return sum(1 for name in among if self._state(name) is TaskState.FAILED)

    def succeeded(self, nodes: tuple[NodeName, ...]) -> int:
        return sum(1 for name in nodes if self._state(name) is TaskState.SUCCEEDED)

    def _state(self, name: NodeName) -> TaskState | None:
        return self.ended[name][0] if name in self.ended else None

    @property
    def canaries(self) -> tuple[NodeName, ...]:
        return self.order[: self.rollout.canary]

    def exceeded(self) -> str:
        """Return why nothing more may begin; empty while the job is within its budget."""
        failed = self.failed() - self.forgiven
        if self.budget is not None and failed > self.budget:
            return f"{failed} failed, and it may lose {self.budget}"
        if failed > 0 and self.failed(self.canaries) and not self.promoted:
            return "a canary failed"
        return ""

    def promoted_by_itself(self) -> bool:
        """Return whether all canaries have ended, and well enough for a promotion that nobody gives."""
        done = all(name in self.ended for name in self.canaries)
        automatic = self.rollout.promotion is Promotion.AUTOMATIC
        return automatic and done and self.succeeded(self.canaries) > 0 and not self.exceeded()


class Ledger:
    """Everything that began and ended, job by job."""

    def __init__(self) -> None:
        self.pages: dict[JobId, Page] = {}

    def entry(self, before: State, command: Command, after: State, outcome: Outcome) -> Iterator[str]:
        """Yield the laws that an entry broke, in words."""
        repeated = any(command.request_id in generation for generation in before.requests)
        if repeated or not isinstance(outcome, Accepted):
            return
        if isinstance(command, ClaimTask):
            page = self.pages.get(command.job)
            if page is not None and command.node not in page.running:
                yield from (
                    f"{command.job} began on {command.node} {why}" for why in self._begin(before, command)
                )
        self._steer(command)
        for job_id, job in after.jobs.items():
            if job_id not in before.jobs and job.kind is not JobKind.DISCOVER:
                self.pages[job_id] = self._page(before, command, after, job)
        for job_id, job in after.jobs.items():
            if job is not before.jobs.get(job_id) and job.kind is not JobKind.DISCOVER:
                self._ends(job)
        yield from self._reverts(before, after)

    def _page(self, before: State, command: Command, after: State, job: Job) -> Page:
        source = self.pages.get(job.retry_of or job.revert_of)
        rollout, parallel, budget = job.rollout, job.max_parallel, job.max_failed
        if isinstance(command, SubmitJob):
            rollout = command.rollout
            parallel, budget = _numbers(command, len(job.tasks))
        elif source is not None and job.retry_of:
            rollout, parallel, budget = job.rollout, source.parallel, source.budget
        elif source is not None:
            parallel, budget = source.parallel, None
        nodes = {name: after.nodes[name] for name in job.tasks}
        return Page(
            kind=job.kind,
            rollout=rollout,
            parallel=parallel,
            budget=budget,
            order=tuple(job.tasks),
            domains={name: before.nodes[name].labels.get(rollout.domain, "") for name in nodes},
            bundles={name: task.bundle or job.bundle for name, task in job.tasks.items()},
            submitted_at=command.at,
            undoes=job.revert_of,
        )

    def _steer(self, command: Command) -> None:
        if not isinstance(command, PauseJob | ResumeJob | PromoteJob | CancelJob | ReviewJob):
            return
        page = self.pages.get(command.job)
        if page is None:
            return
        if isinstance(command, PauseJob):
            page.paused = True
        elif isinstance(command, ResumeJob):
            page.paused = False
            if page.over and page.rollout.on_failure is OnFailure.PAUSE:
                page.over, page.forgiven = "", page.failed()
        elif isinstance(command, PromoteJob):
            page.promoted = True
        elif isinstance(command, CancelJob):
            page.cancelled = True
        else:
            page.open_until = command.open_until
            page.started = page.started or command.at >= page.rollout.start_at

    def _ends(self, job: Job) -> None:
        page = self.pages[job.id]
        for name, task in job.tasks.items():
            if task.state in TASK_ENDED and name not in page.ended:
                page.running.discard(name)
                page.ended[name] = task.state, task.ended_at
        page.over = page.over or page.exceeded()
        page.promoted = page.promoted or (page.rollout.canary > 0 and page.promoted_by_itself())

    def _begin(self, before: State, command: ClaimTask) -> Iterator[str]:
        page, name = self.pages[command.job], command.node
        for other_id, other in self.pages.items():
            if name in other.running and other is not page:
                yield f"while {other_id} is at work on it"
        if page.cancelled or page.paused:
            yield "after it was cancelled" if page.cancelled else "while it is paused"
        if page.over:
            yield f"although {page.over}"
        if len(page.running) >= page.parallel:
            yield f"as one of {len(page.running) + 1}, and at most {page.parallel} may be at work"
        if {page.domains[other] for other in page.running} - {page.domains[name]}:
            yield f"of {page.domains[name]!r} while other failure domains are at work"
        if page.rollout.canary and name not in page.canaries and not page.promoted:
            yield "before its canaries were promoted"
        yield from self._clock(page, command.at)
        if page.undoes:
            yield from self._newest_first(page, name)
        if page.kind in (JobKind.UPGRADE, JobKind.DRAIN) and not page.rollout.below_minimum:
            yield from (f"and {why}" for why in missing(before, before.nodes[name]))
        page.running.add(name)
        page.had[name] = before.nodes[name].last_good

    def _clock(self, page: Page, at: float) -> Iterator[str]:
        if page.rollout.windows and not (page.open_until is not None and at < page.open_until):
            yield f"outside its change windows: at {at:.0f}, the last one known closes at {page.open_until}"
        if page.rollout.start_at > page.submitted_at and not page.started:
            yield f"before {page.rollout.start_at:.0f}, when it was to start"

    def _newest_first(self, page: Page, name: NodeName) -> Iterator[str]:
        undone = self.pages.get(page.undoes)
        if undone is None:
            return
        waiting = [other for other in page.order if other not in page.ended and other not in page.running]
        newer = [other for other in waiting if undone.ended[other][1] > undone.ended[name][1]]
        if len(newer) + len(page.running) >= page.parallel:
            yield f"before {newer}, which {page.undoes} changed later"

    def _reverts(self, before: State, after: State) -> Iterator[str]:
        """A job that is to revert when it fails is reverted when it ends, whole, and no other one is."""
        made = [job for job_id, job in after.jobs.items() if job_id not in before.jobs and job.revert_of]
        by_job = {job.revert_of: job for job in made}
        for job_id in set(before.running) - set(after.running):
            page = self.pages.get(job_id)
            if page is None or page.rollout.progress_deadline_s:
                continue
            back = by_job.get(job_id)
            wanted = page.over and not page.cancelled and page.rollout.on_failure is OnFailure.REVERT
            nodes = self._to_bring_back(page, after) if wanted else set()
            if nodes != set(back.tasks if back else ()):
                yield f"{job_id} ended ({page.over}), {sorted(nodes)} are to be brought back, there is {back}"
        for job in made:
            undone = self.pages.get(job.revert_of)
            for name, task in job.tasks.items() if undone and job.kind is JobKind.UPGRADE else ():
                had, gets = undone.had.get(name), task.bundle or job.bundle
                if gets != had:
                    yield f"{job.id} brings {name} to {gets}, it had {had}"

    def _to_bring_back(self, page: Page, after: State) -> set[NodeName]:
        if page.kind not in REVERSIBLE:
            return set()
        return {
            name
            for name, (state, _) in page.ended.items()
            if state is TaskState.SUCCEEDED
            and (node := after.nodes.get(name)) is not None
            and node.status in IN_SERVICE
            and node.bundle == page.bundles[name]
            and (page.kind is JobKind.COMMISSION or page.had[name] in after.bundles)
        }


def _numbers(command: SubmitJob, nodes: int) -> tuple[int, int | None]:
    """Return how many may be at work at once, and how many may fail, as the documentation says."""
    upgrade = command.kind is JobKind.UPGRADE
    parallel = command.max_parallel or (-(-nodes // 10) if upgrade else 32)
    if command.rollout.max_parallel_percent:
        parallel = max(1, nodes * command.rollout.max_parallel_percent // 100)
    budget = 0 if command.max_failed is None and upgrade else command.max_failed
    if command.rollout.max_failed_percent is not None:
        budget = nodes * command.rollout.max_failed_percent // 100
    return parallel, budget


def missing(state: State, stops: Node) -> Iterator[str]:
    """Yield what roles would lack, or lack more, while the node `stops` is out of work.

    Who is being upgraded does no work, and needs the others as before when it is back.
    """
    at_work = [node for node in state.nodes.values() if _works(node)]
    if stops not in at_work:
        return
    rest = [node for node in at_work if node is not stops]
    back_soon = [node for node in state.nodes.values() if node.status is Status.UPGRADING]
    for node in rest + back_soon:
        bundle = state.bundles.get(node.bundle)
        role = bundle.manifest.roles.get(node.role) if bundle else None
        for requirement in role.requires if role else ():
            left = sum(1 for other in rest if other.role == requirement.role)
            if requirement.role == stops.role and left < requirement.minimum:
                yield f"{node.name} needs {requirement.minimum} x {requirement.role}, {left} are left"


def _works(node: Node) -> bool:
    return (
        node.status in IN_SERVICE
        and node.presence is not Presence.UNREACHABLE
        and node.maintenance is None
        and node.debt is None
    )

"""Which outputs are owed: a function of the replicated state and of what is stored, kept up to date.

1. Owed is what an attempt with a recorded result printed, unless it is stored here, or the state has all of
   it: an output that is shorter than `output_tail` may be is whole there, on every replica.
2. A look costs what has changed since the last one: values that are the same object are passed over.
3. Nothing is remembered that the state and the store do not say again after a restart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hamgr.jobs.worker import node_job
from hamgr.logs.pieces import Attempt
from hamgr.logs.whole import whole_in_state
from statemachine.model import Job, State, Task
from statemachine.words import JobId, JobKind, NodeName

PAUSE_RESULTS = 2_000
"""After so many results a look lets others run."""


@dataclass(slots=True)
class _Seen:
    """What a job was when it was looked at last."""

    job: Job
    tasks: dict[NodeName, Task] = field(default_factory=dict)


class Ledger:
    """What this replica owes.

    Attributes:
        owed: By node, in the order in which the results were found.
    """

    def __init__(self, settled: Callable[[Attempt], bool]) -> None:
        self._settled = settled
        self._seen: dict[JobId, _Seen] = {}
        self.owed: dict[NodeName, dict[Attempt, None]] = {}

    @property
    def count(self) -> int:
        return sum(map(len, self.owed.values()))

    def look(self, state: State, found: list[Attempt]) -> Iterator[None]:
        """Find what `state` adds, append it to `found`, and drop what the state has forgotten.

        Yields whenever a bounded amount has been done; the caller goes on at its own pace.
        """
        if not state.cluster:
            return
        for job_id in [job_id for job_id in self._seen if job_id not in state.jobs]:
            self._drop(node_job(state, job_id), self._seen.pop(job_id))
        looked = 0
        for job in state.jobs.values():
            seen = self._seen.get(job.id)
            if (seen is not None and seen.job is job) or job.kind is JobKind.DISCOVER:
                continue
            before = seen.tasks if seen is not None else {}
            for name, task in job.tasks.items():
                if before.get(name) is not task and task.results:
                    found += self._add(node_job(state, job.id), task)
                    looked += len(task.results)
                    if looked >= PAUSE_RESULTS:
                        looked = 0
                        yield
            self._seen[job.id] = _Seen(job, dict(job.tasks))

    def _add(self, job: str, task: Task) -> list[Attempt]:
        added = []
        for result in task.results:
            attempt = Attempt(job, task.node, result.step, result.attempt)
            if whole_in_state(result) or attempt in self.owed.get(task.node, {}) or self._settled(attempt):
                continue
            self.owe(attempt)
            added.append(attempt)
        return added

    def _drop(self, job: str, seen: _Seen) -> None:
        for name in seen.tasks:
            for attempt in [a for a in self.owed.get(name, ()) if a.job == job]:
                self.settle(attempt)

    def owe(self, attempt: Attempt) -> None:
        """Note that an output is wanted (again)."""
        self.owed.setdefault(NodeName(attempt.node), {})[attempt] = None

    def settle(self, attempt: Attempt) -> None:
        """Note that an output is stored, or wanted no more."""
        node = self.owed.get(NodeName(attempt.node))
        if node is not None:
            node.pop(attempt, None)
            if not node:
                del self.owed[NodeName(attempt.node)]

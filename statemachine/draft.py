"""One command's changes to a state, collected before they become the next state.

A rule reads and writes the draft; when it answers `Rejected`, the draft is thrown away, so a refused
command cannot leave half a change behind. Outside of one call of `apply` nobody sees a draft.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from statemachine import lifecycle
from statemachine.commands import Command
from statemachine.copying import replace
from statemachine.lifecycle import Trigger
from statemachine.model import (
    ERROR_CHARS_MAX,
    EVENTS_MAX,
    HISTORY_MAX,
    JOBS_ENDED_MAX,
    Event,
    Job,
    Node,
    Remembered,
    State,
    Task,
    Transition,
)
from statemachine.recent import Recent
from statemachine.words import JobId, JobState, NodeName, RequestId

Requests: TypeAlias = tuple[Mapping[RequestId, Remembered], ...]


class Draft:
    """The next state in the making."""

    def __init__(self, state: State, command: Command) -> None:
        self.before = state
        self.index = state.index + 1
        self.at = command.at
        self.actor = command.actor
        self.nodes: Mapping[NodeName, Node] = state.nodes
        self.jobs: Mapping[JobId, Job] = state.jobs
        self.running = state.running
        self.changed_nodes: set[NodeName] = set()
        self._tasks: dict[JobId, dict[NodeName, Task]] = {}
        self._events: list[Event] = []
        self._changed: dict[str, Any] = {}

    @property
    def view(self) -> State:
        """The state as the draft stands now; read-only, and only for this command."""
        return replace(self.before, nodes=self.nodes, jobs=self.jobs, running=self.running, **self._changed)

    def set(self, **fields: Any) -> None:
        """Change other parts of the state, by field name."""
        self._changed.update(fields)

    def put_node(self, node: Node) -> Node:
        """Store `node` as changed by this command."""
        changed = replace(node, index=self.index)
        self.changed_nodes.add(node.name)
        self._own_nodes()[node.name] = changed
        return changed

    def drop_node(self, name: NodeName) -> None:
        """Strike a node."""
        self.changed_nodes.add(name)
        del self._own_nodes()[name]

    def next_job_id(self) -> JobId:
        """Return the name of one more job.

        A generation has names of its own: nodes keep records of jobs that this state has never heard of.
        """
        self._changed["job_count"] = self._changed.get("job_count", self.before.job_count) + 1
        generation = self.before.generation
        return JobId(f"j{generation + 1 if generation else ''}-{self._changed['job_count']}")

    def put_job(self, job: Job) -> Job:
        """Store `job` as changed by this command."""
        changed = replace(job, index=self.index)
        self._own_jobs()[job.id] = changed
        return changed

    def put_task(self, job_id: JobId, task: Task) -> Job:
        """Store `task` in its job, whose tasks are copied once a command."""
        job = self.jobs[job_id]
        tasks = self._tasks.get(job_id)
        if tasks is None:
            tasks = self._tasks[job_id] = dict(job.tasks)
        tasks[task.node] = task
        changed = replace(job, tasks=tasks, index=self.index)
        self._own_jobs()[job_id] = changed
        return changed

    def event(self, kind: str, subject: str, message: str, *, job: str = "") -> None:
        """Tell watchers."""
        self._events.append(
            Event(
                index=self.index,
                part=len(self._events),
                at=self.at,
                kind=kind,
                subject=subject,
                message=message[:ERROR_CHARS_MAX],
                actor=self.actor,
                job=job,
            )
        )

    def move(self, name: NodeName, trigger: Trigger, *, job: str = "", reason: str = "") -> Node:
        """Move a node along the table and write its history; the caller has checked that the cell exists."""
        node = self.nodes[name]
        status = lifecycle.after(node.status, trigger)
        if status is None:
            raise AssertionError(f"{name}: no transition from {node.status} by {trigger}")
        line = Transition(
            index=self.index,
            at=self.at,
            status=status,
            trigger=trigger,
            actor=self.actor,
            job=job,
            reason=reason[:ERROR_CHARS_MAX],
        )
        why = f" ({reason})" if reason else ""
        self.event("node.status", name, f"{node.status} -> {status}{why}", job=job)
        return self.put_node(replace(node, status=status, history=(*node.history, line)[-HISTORY_MAX:]))

    def end_job(self, job: Job) -> None:
        """Take an ended job off the running ones, and drop the oldest ended ones over the limit."""
        self.put_job(job)
        self.running = tuple(other for other in self.running if other != job.id)
        ended = [other for other in self.jobs.values() if other.state is not JobState.RUNNING]
        if len(ended) > JOBS_ENDED_MAX:
            del self._own_jobs()[min(ended, key=lambda other: other.index).id]
        self.event(
            "job.ended", job.id, f"{job.kind} {job.state}{': ' + job.error if job.error else ''}", job=job.id
        )

    def _own_nodes(self) -> dict[NodeName, Node]:
        """Return the mapping of nodes for writing; copied once a command, and only by those that write."""
        if self.nodes is self.before.nodes:
            self.nodes = dict(self.before.nodes)
        return cast("dict[NodeName, Node]", self.nodes)

    def _own_jobs(self) -> dict[JobId, Job]:
        if self.jobs is self.before.jobs:
            self.jobs = dict(self.before.jobs)
        return cast("dict[JobId, Job]", self.jobs)

    def finish(self, *, requests: Requests) -> State:
        """Return the next state, with the memory of requests given."""
        recent, base = self.before.events, self.before.event_base
        if self._events:
            kept = recent if isinstance(recent, Recent) else Recent(recent)
            kept = kept.followed_by(self._events)
            if len(kept) > EVENTS_MAX:
                base = kept[len(kept) - EVENTS_MAX - 1].index
                kept = kept.newest(EVENTS_MAX)
            recent = cast("tuple[Event, ...]", kept)  # it is equal to the tuple, and its slices are some
        return replace(
            self.before,
            index=self.index,
            nodes=self.nodes,
            jobs=self.jobs,
            running=self.running,
            events=recent,
            event_base=base,
            requests=requests,
            **self._changed,
        )

"""A small cluster's state to tell stories with: it sends commands and checks the invariants after each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from statemachine.commands import (
    AddNode,
    CancelJob,
    ClaimTask,
    Command,
    CommitBundle,
    EditNode,
    FinishAttempt,
    ReportPresence,
    StartAttempt,
    SubmitJob,
)
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.jobs import work
from statemachine.machine import apply
from statemachine.manifest import ComponentSpec, Manifest, Requirement, RoleSpec, StepSpec
from statemachine.model import Endpoint, Job, Node, Result, State, Task
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import (
    Digest,
    Ending,
    JobId,
    JobKind,
    NodeName,
    Presence,
    RequestId,
    TaskState,
    Verb,
)
from tests.statemachine.invariants import check_step

AT = 1_700_000_000.0


def digest(number: int) -> Digest:
    """Return the name of the bundle number `number`."""
    return Digest(f"sha256:{number:064x}")


def component(name: str, **verbs: tuple[StepSpec, ...]) -> ComponentSpec:
    """Return a component with the verbs given, or with one step for each verb."""
    if not verbs:
        verbs = {
            "commission": (StepSpec(name="install"), StepSpec(name="start")),
            "upgrade": (StepSpec(name="replace"),),
            "verify": (StepSpec(name="answers", check=True),),
            "cleanup": (StepSpec(name="remove"),),
        }
    return ComponentSpec(name=name, version="1", verbs={Verb(verb): steps for verb, steps in verbs.items()})


def manifest(*components: ComponentSpec, roles: dict[str, tuple[Requirement, ...]] | None = None) -> Manifest:
    """Return a manifest in which every role has all the components."""
    names = tuple(one.name for one in components)
    return Manifest(
        roles={
            role: RoleSpec(name=role, components=names, requires=requires)
            for role, requires in (roles or {"web": ()}).items()
        },
        components={one.name: one for one in components},
    )


MASTERS = manifest(component("app"), roles={"master": (), "worker": (Requirement(role="master"),)})
"""A worker needs a master."""


def key_of(node: str) -> str:
    return f"ssh-ed25519 {node}"


class Fleet:
    """The state after a story so far.

    Every command is applied and checked; `at` is a clock that the story moves.
    """

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.at = AT

    def send(self, make: Callable[..., Command], /, **fields: Any) -> Outcome:
        """Apply a command with a request id of its own."""
        request_id = RequestId(f"r-{self.state.index + 1}")
        fields = {"request_id": request_id, "actor": "ann", "at": self.at, **fields}
        return self.apply(make(**fields))

    def apply(self, command: Command) -> Outcome:
        before = self.state
        self.state, outcome = apply(before, command)
        check_step(before, command, self.state, outcome)
        return outcome

    def accept(self, make: Callable[..., Command], /, **fields: Any) -> Accepted:
        outcome = self.send(make, **fields)
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def refuse(self, reason: Reason, make: Callable[..., Command], /, **fields: Any) -> Rejected:
        """Send a command that must be refused for `reason`; `check_step` sees that nothing changed."""
        outcome = self.send(make, **fields)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.reason is reason, outcome
        return outcome

    def node(self, name: str) -> Node:
        return self.state.nodes[NodeName(name)]

    def job(self, job: str) -> Job:
        return self.state.jobs[JobId(job)]

    def task(self, job: str, node: str) -> Task:
        return self.job(job).tasks[NodeName(node)]

    def bundle(self, number: int, content: Manifest) -> Digest:
        self.accept(CommitBundle, digest=digest(number), manifest=content, size_bytes=1)
        return digest(number)

    def sight(self, name: str, *, job: str = "", readmit: bool = False, **fields: Any) -> str:
        """Report a machine through a discover job of its own; return the job's id."""
        endpoint = fields.pop("endpoint", Endpoint(address=f"{name}.example"))
        job = job or self.accept(SubmitDiscovery, endpoints=(endpoint,), readmit=readmit).ref
        seen = {"machine_id": f"id-{name}", "host_key": key_of(name), "epoch": 0, **fields}
        sighting = Sighting(endpoint=endpoint, name=name, **seen)
        self.accept(ReportSighting, job=job, task=NodeName(str(endpoint)), sighting=sighting)
        return job

    def discovered(self, *names: str) -> None:
        for name in names:
            self.sight(name)

    def added(self, name: str, **fields: Any) -> None:
        self.accept(AddNode, node=name, endpoint=Endpoint(address=f"{name}.example"), **fields)

    def submit(self, kind: JobKind, *nodes: str, **fields: Any) -> str:
        return self.accept(SubmitJob, kind=kind, nodes=tuple(nodes), **fields).ref

    def accept_role(self, node: str, role: str) -> None:
        self.accept(EditNode, node=node, role=role)

    def due(self, job: str) -> list[str]:
        """Return the nodes on which the job could go on now."""
        return [
            one.node for one in work.pending(self.state) if isinstance(one, work.TaskDue) and one.job == job
        ]

    def stale_claim(self, job: str, node: str) -> None:
        """Try a claim that must be refused as stale."""
        self.refuse(Reason.STALE_CLAIM, ClaimTask, job=job, node=node, claimant="replica-1/7")

    def with_running(self, count: int) -> State:
        """Return the state as if `count` jobs were running; not a state that checks would pass."""
        return replace(self.state, running=tuple(JobId(f"j-{i}") for i in range(count)))

    def cancel(self, job: str) -> None:
        self.accept(CancelJob, job=job)

    def claim(self, job: str, node: str) -> int:
        return self.accept(ClaimTask, job=job, node=node, claimant="replica-1/7").epoch

    def step_due(self, job: str, node: str) -> work.StepDue | None:
        epoch = self.task(job, node).epoch
        return work.step_due(self.state, JobId(job), NodeName(node), epoch)

    def owed(self, job: str, node: str) -> str:
        """Return what the task owes as `key/attempt`; empty when it owes nothing."""
        due = self.step_due(job, node)
        return f"{due.key}/{due.attempt}" if due else ""

    def unreachable(self, node: str) -> None:
        self.accept(ReportPresence, node=node, presence=Presence.UNREACHABLE, reason="silent")

    def start(self, job: str, node: str) -> None:
        key, attempt = self.owed(job, node).rsplit("/", 1)
        epoch = self.task(job, node).epoch
        self.accept(StartAttempt, job=job, node=node, epoch=epoch, step=key, attempt=int(attempt))

    def finish(self, job: str, node: str, ending: Ending = Ending.EXITED, **fields: Any) -> None:
        key, attempt = self.owed(job, node).rsplit("/", 1)
        if ending is Ending.EXITED:
            fields = {"exit_code": 0, **fields}
        result = Result(step=key, attempt=int(attempt), ending=ending, **fields)
        self.accept(FinishAttempt, job=job, node=node, epoch=self.task(job, node).epoch, result=result)

    def step(self, job: str, node: str, ending: Ending = Ending.EXITED, **fields: Any) -> None:
        """Announce the owed attempt and report how it ended."""
        self.start(job, node)
        self.finish(job, node, ending, **fields)

    def fail(self, job: str, node: str) -> None:
        self.step(job, node, exit_code=1)

    def lose(self, job: str, node: str) -> None:
        """Let the work on a node fail and its way back pass."""
        self.claim(job, node)
        self.fail(job, node)
        while self.owed(job, node):
            self.step(job, node)
        assert self.task(job, node).state is TaskState.FAILED

    def drive(self, job: str, *nodes: str) -> None:
        """Let everything pass until the tasks on `nodes`, or all of the job's, have ended."""
        for node in nodes or tuple(self.job(job).tasks):
            if not self.owed(job, node):
                self.claim(job, node)
            while self.owed(job, node):
                self.step(job, node)

    def in_service(self, *names: str, role: str = "web") -> None:
        """Discover the nodes and commission them into `role`."""
        self.discovered(*names)
        job = self.submit(JobKind.COMMISSION, *names, role=role)
        self.drive(job)

    def clone(self) -> "Fleet":
        """Return a story that goes on from here on its own."""
        other = Fleet(self.state)
        other.at = self.at
        return other

    def passed_time(self, seconds: float) -> None:
        self.at += seconds


def unchanged(before: State, after: State) -> bool:
    """Return whether `after` is `before` but for the index and the memory of requests."""
    return replace(after, index=before.index, requests=before.requests) == before

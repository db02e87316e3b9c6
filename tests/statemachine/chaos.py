"""Commands that anybody might propose: right, nearly right, late, twice, and nonsense.

Everything is drawn from one `random.Random`, so that Hypothesis can shrink it and a seed can repeat it.
"""

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from statemachine import commands, discovery_commands
from statemachine.jobs import work
from statemachine.lifecycle import IN_SERVICE, Trigger, allowed_from
from statemachine.manifest import Manifest, Requirement, StepSpec
from statemachine.model import Endpoint, Job, Result, State, Task
from statemachine.rollout import HoldKind
from statemachine.rollouts import gates
from statemachine.words import (
    TASK_ENDED,
    Digest,
    Ending,
    JobId,
    JobKind,
    JobState,
    NodeName,
    Presence,
    RequestId,
    StepClass,
    TaskState,
    Value,
)
from tests.statemachine.fleet import AT, Fleet, component, digest, manifest
from tests.statemachine.strategies import WINDOW_S, sensible, strange

T = TypeVar("T")

NAMES = ("m1", "m2", "w1", "w2", "w3", "s1")
ROLES = ("master", "worker", "solo")
STRANGE_NAMES = ("", "Not A Name", "x" * 64, "nobody", "-", "m1\n")
VALUES: tuple[Value, ...] = (None, 1, "x", 2.5, True, [1, [None]], {}, {"a": None}, {"a": {"b": 1}}, 2**63)
LONG = "why " * 400


def _steps(**fields: Any) -> tuple[StepSpec, ...]:
    return (StepSpec(name="first", **fields), StepSpec(name="second", retries=2, retry_delay_s=1.0))


CHECKS = (StepSpec(name="answers", check=True, retries=1), StepSpec(name="serves", check=True))
BUNDLES: dict[Digest, Manifest] = {
    digest(1): manifest(
        component(
            "app",
            commission=_steps(),
            upgrade=_steps(),
            verify=CHECKS,
            cleanup=_steps(),
            drain=_steps(),
            undrain=_steps(),
        ),
        component("disk", commission=_steps(step_class=StepClass.ONCE), verify=CHECKS, cleanup=_steps()),
        roles={"master": (), "worker": (Requirement(role="master"),), "solo": ()},
    ),
    digest(2): manifest(
        component(
            "app",
            commission=_steps(step_class=StepClass.CHECKABLE),
            upgrade=_steps(step_class=StepClass.CHECKABLE),
            verify=CHECKS,
            cleanup=_steps(step_class=StepClass.CHECKABLE),
        ),
        roles={
            "master": (),
            "worker": (Requirement(role="master", minimum=2),),
            "solo": (Requirement(role="solo", minimum=2),),
        },
    ),
    digest(3): manifest(component("none", commission=_steps(), cleanup=()), roles={"solo": ()}),
}


def start() -> State:
    """Return a small cluster with a bundle, and nodes in several statuses."""
    fleet = Fleet()
    fleet.accept(commands.FoundCluster, cluster="0123456789ab")
    fleet.bundle(2, BUNDLES[digest(2)])
    fleet.bundle(1, BUNDLES[digest(1)])
    fleet.in_service("m1", role="master")
    fleet.in_service("w1", role="worker")
    fleet.discovered("m2", "w2")
    fleet.added("w3")
    return fleet.state


class Chaos:
    """Draws commands that fit, or nearly fit, a state."""

    def __init__(self, rng: Random, state: State, sent: list[commands.Command]) -> None:
        self.rng = rng
        self.state = state
        self.sent = sent

    def odds(self, percent: int) -> bool:
        return self.rng.randrange(100) < percent

    def pick(self, *options: T) -> T:
        return options[self.rng.randrange(len(options))]

    def name(self) -> NodeName:
        return NodeName(self.pick(*STRANGE_NAMES) if self.odds(4) else self.pick(*NAMES))

    def role(self) -> str:
        return "jester" if self.odds(4) else self.pick(*ROLES)

    def endpoint(self) -> Endpoint:
        return Endpoint(address=f"{self.name()}.example", port=self.pick(22, 22, 2222))

    def variables(self) -> dict[str, Value]:
        return {key: self.pick(*VALUES) for key in ("k", "l")[: self.rng.randrange(3)]}

    def labels(self) -> dict[str, str]:
        labels = {"rack": self.pick("r1", "r2", "")} if self.odds(50) else {}
        return {**labels, "Bad Key": "bad value"} if self.odds(4) else labels

    def index(self) -> int | None:
        return self.pick(0, self.state.index, 2**64 - 1) if self.odds(10) else None

    def text(self) -> str:
        return self.pick("", "because", LONG)

    def head(self) -> dict[str, Any]:
        """Return what every command has; sometimes the id of an earlier one, sometimes an id that is none."""
        at = AT + self.state.index + self.rng.randrange(10)
        fresh = f"c-{len(self.sent)}"
        if self.odds(3) and self.sent:
            fresh = self.pick(*self.sent).request_id
        if self.odds(1):
            fresh = self.pick("", "no id\n", "x" * 65)
        return {
            "request_id": RequestId(fresh),
            "at": self.pick(at, 0.0) if self.odds(5) else at,
            "actor": "ann",
        }

    def job(self, *, kind: JobKind | None = None) -> Job | None:
        jobs = [job for job in self.state.jobs.values() if kind is None or job.kind is kind]
        running = [job for job in jobs if job.id in self.state.running]
        chosen = running if running and self.odds(90) else jobs
        return self.pick(*chosen) if chosen else None

    def job_id(self, kind: JobKind | None = None) -> JobId:
        job = self.job(kind=kind)
        return job.id if job and not self.odds(5) else JobId(self.pick("j-0", "", "j-1"))

    def task(self, wanted: Callable[[Task], bool]) -> tuple[JobId, Task]:
        """Return a task of a running job that is wanted, or any task, or none that exists."""
        running = [self.state.jobs[job] for job in self.state.running]
        jobs = [job for job in running if job.kind is not JobKind.DISCOVER or self.odds(4)]
        jobs = jobs or list(self.state.jobs.values())
        tasks = [(job.id, task) for job in jobs for task in job.tasks.values()]
        good = [(job, task) for job, task in tasks if wanted(task)]
        if good and self.odds(90):
            return self.pick(*good)
        return self.pick(*tasks) if tasks and self.odds(80) else (self.job_id(), Task(node=self.name()))

    def command(self, kind: str) -> commands.Command:
        """Return a command of the kind named; `again` is one that was sent before."""
        if kind == "again":
            return self.pick(*self.sent) if self.sent else commands.Barrier(**self.head())
        made: commands.Command = getattr(self, kind)()
        return made

    def barrier(self) -> commands.Command:
        return commands.Barrier(**self.head())

    def found(self) -> commands.Command:
        return commands.FoundCluster(**self.head(), cluster=self.pick("", "fedcba987654"))

    def add(self) -> commands.Command:
        return commands.AddNode(
            **self.head(),
            node=self.name(),
            endpoint=self.endpoint(),
            labels=self.labels(),
            variables=self.variables(),
            role=self.role() if self.odds(50) else "",
        )

    def edit(self) -> commands.Command:
        return commands.EditNode(
            **self.head(),
            node=self.name(),
            labels=self.labels() if self.odds(50) else None,
            variables=self.variables() if self.odds(50) else None,
            role=self.pick(self.role(), "") if self.odds(50) else None,
            if_index=self.index(),
        )

    def maintain(self) -> commands.Command:
        until = self.pick(None, AT + self.state.index + 20)
        return commands.SetMaintenance(
            **self.head(), node=self.name(), on=self.odds(30), reason=self.text(), until=until
        )

    def forget(self) -> commands.Command:
        force = self.odds(25)
        return commands.ForgetNode(**self.head(), node=self.name(), force=force, if_index=self.index())

    def presence(self) -> commands.Command:
        presence = self.pick(*Presence) if self.odds(40) else Presence.REACHABLE
        return commands.ReportPresence(**self.head(), node=self.name(), presence=presence, reason=self.text())

    def globals(self) -> commands.Command:
        return commands.SetGlobals(**self.head(), variables=self.variables(), if_index=self.index())

    def bundle(self) -> commands.Command:
        name, content = self.pick(*BUNDLES.items())
        if self.odds(5):
            name = Digest("sha256:short")
        return commands.CommitBundle(**self.head(), digest=name, manifest=content, size_bytes=1)

    def _fitting(self, kind: JobKind) -> NodeName:
        """Return a node that the job could be for, most of the time."""
        fits = {
            JobKind.COMMISSION: allowed_from(Trigger.COMMISSION),
            JobKind.UPGRADE: allowed_from(Trigger.UPGRADE),
            JobKind.DECOMMISSION: allowed_from(Trigger.DECOMMISSION),
        }.get(kind, tuple(IN_SERVICE))
        nodes = [node.name for node in self.state.nodes.values() if node.status in fits and not node.job]
        return self.pick(*nodes) if nodes and self.odds(95) else self.name()

    def submit(self) -> commands.Command:
        kind = self.pick(*JobKind) if self.odds(5) else self.pick(*list(JobKind)[1:])
        every = self.pick("*", "status=discovered", "w*", "rack=r1", "role=solo,!rack", "(", "")
        nodes = tuple(self._fitting(kind) for _ in range(self.rng.randrange(1, 4)))
        selector = every if self.odds(20) else ""
        bundle = (
            self.pick(*BUNDLES) if self.odds(20) else Digest("sha256:none") if self.odds(3) else Digest("")
        )
        asked: dict[str, Any] = {
            "max_parallel": self.pick(1, 2, 2, 1, -1) if self.odds(40) else 0,
            "max_failed": self.pick(0, 1, 0, 1, -1) if self.odds(40) else None,
        }
        if self.odds(50):
            rollout, asked = sensible(self.rng, nodes=len(set(nodes)), at=AT + self.state.index)
            asked["rollout"] = strange(self.rng, rollout) if self.odds(4) else rollout
        return commands.SubmitJob(
            **self.head(),
            kind=kind,
            nodes=() if selector and self.odds(90) else nodes,
            selector=selector,
            role=self.role() if kind is JobKind.COMMISSION and self.odds(90) else "",
            bundle=bundle if kind in (JobKind.COMMISSION, JobKind.UPGRADE) or self.odds(4) else Digest(""),
            variables=self.variables(),
            reason=self.text(),
            **asked,
        )

    def discover(self) -> commands.Command:
        return discovery_commands.SubmitDiscovery(
            **self.head(),
            endpoints=tuple(self.endpoint() for _ in range(self.rng.randrange(4))),
            sweep=self.odds(50),
            readmit=self.odds(30),
            labels=self.labels(),
            max_parallel=self.pick(0, 1, 2),
        )

    def cancel(self) -> commands.Command:
        return commands.CancelJob(**self.head(), job=self.job_id(), reason=self.text())

    def _steered(self, wanted: Callable[[Job], bool]) -> JobId:
        """Return a job that could be steered so, most of the time."""
        jobs = [job.id for job in self.state.jobs.values() if wanted(job)]
        return self.pick(*jobs) if jobs and self.odds(95) else self.job_id()

    def _held(self, *kinds: HoldKind) -> JobId:
        return self._steered(lambda job: any(hold.kind in kinds for hold in job.holds))

    def pause(self) -> commands.Command:
        return commands.PauseJob(**self.head(), job=self.job_id(), reason=self.text())

    def resume(self) -> commands.Command:
        job = self._held(HoldKind.PAUSED, HoldKind.FAILURES, HoldKind.STALLED)
        return commands.ResumeJob(**self.head(), job=job, reason=self.text())

    def promote(self) -> commands.Command:
        return commands.PromoteJob(**self.head(), job=self._held(HoldKind.CANARY), reason=self.text())

    def _ended(self) -> JobId:
        return self._steered(
            lambda job: job.state is not JobState.RUNNING and job.kind is not JobKind.DISCOVER
        )

    def retry(self) -> commands.Command:
        return commands.RetryJob(**self.head(), job=self._ended(), unfinished=self.odds(50))

    def revert(self) -> commands.Command:
        return commands.RevertJob(**self.head(), job=self._ended(), reason=self.text())

    def review(self) -> commands.Command:
        job_id = self._steered(lambda job: job.id in self.state.running and gates.review_due(job) is not None)
        head, job = self.head(), self.state.jobs.get(job_id)
        due = gates.review_due(job) if job is not None else None
        if due is not None and self.odds(90):
            head["at"] = max(head["at"], due)
        open_until = head["at"] + self.pick(WINDOW_S, WINDOW_S, -1.0) if self.odds(70) else None
        opens_at = head["at"] + self.pick(1.0, 100.0) if self.odds(90) else None
        quiet_s = self.pick(0.0, 1.0, 1e6) if self.odds(70) else None
        return commands.ReviewJob(
            **head, job=job_id, open_until=open_until, opens_at=opens_at, quiet_s=quiet_s
        )

    def _probe(self) -> tuple[JobId, NodeName]:
        job = self.job(kind=JobKind.DISCOVER)
        if job is None or self.odds(8):
            job_id, task = self.task(lambda task: task.state not in TASK_ENDED)
            return job_id, task.node
        return job.id, self.pick(*job.tasks)

    def sight(self) -> commands.Command:
        job, task = self._probe()
        name = self.name()
        sighting = discovery_commands.Sighting(
            endpoint=self.endpoint(),
            name=name,
            machine_id=f"id-{self.name() if self.odds(10) else name}" if self.odds(95) else "",
            host_key=f"ssh-ed25519 {self.name() if self.odds(10) else name}",
            epoch=self.pick(0, 0, 0, 5, 1_000, 2**63, 2**64 - 1, -1) if self.odds(30) else 0,
            facts={"cpus": 4, "os": None} if self.odds(30) else {},
        )
        return discovery_commands.ReportSighting(**self.head(), job=job, task=task, sighting=sighting)

    def silent(self) -> commands.Command:
        job, task = self._probe()
        return discovery_commands.ReportSilence(
            **self.head(), job=job, task=task, error=self.text(), silent=self.odds(50)
        )

    def claim(self) -> commands.Command:
        wanted = self.pick(TaskState.QUEUED, TaskState.QUEUED, TaskState.RUNNING)
        job, task = self.task(lambda task: task.state is wanted)
        return commands.ClaimTask(**self.head(), job=job, node=task.node, claimant="replica-1/1")

    def _owed(self) -> tuple[JobId, Task, str, int, int]:
        job, task = self.task(lambda task: task.state is TaskState.RUNNING)
        due = work.step_due(self.state, job, task.node, task.epoch)
        key, attempt = (due.key, due.attempt) if due else ("work.00.app.first", 1)
        if self.odds(4):
            key = self.pick("work.00.app.first", "verify.00.app.answers", f"{key}.check", "")
        attempt += self.pick(-1, 1) if self.odds(4) else 0
        return job, task, key, attempt, task.epoch + (self.pick(-1, 1) if self.odds(4) else 0)

    def launch(self) -> commands.Command:
        job, task, key, attempt, epoch = self._owed()
        return commands.StartAttempt(
            **self.head(), job=job, node=task.node, epoch=epoch, step=key, attempt=attempt
        )

    def result(self) -> commands.Command:
        job, task, key, attempt, epoch = self._owed()
        ending = self.pick(*Ending) if self.odds(30) else Ending.EXITED
        code = self.pick(0, 0, 0, 1) if ending is Ending.EXITED else None
        result = Result(
            step=key,
            attempt=attempt,
            ending=ending,
            exit_code=code if self.odds(97) else None,
            changed=self.pick(None, True, False),
            error=self.text() if self.odds(20) else "",
            output_tail=self.pick("", "out\n", "é" * 2_000) if self.odds(20) else "",
        )
        return commands.FinishAttempt(**self.head(), job=job, node=task.node, epoch=epoch, result=result)


KINDS = (
    "barrier",
    *(
        "submit",
        "submit",
        "submit",
        "discover",
        "sight",
        "sight",
        "claim",
        "claim",
        "claim",
        "claim",
        "claim",
    ),
    *("launch", "launch", "launch", "launch", "launch", "result", "result", "result", "result", "result"),
    *("edit", "maintain", "forget", "presence", "cancel", "silent", "bundle", "add", "globals", "found"),
    *("again", "pause", "resume", "promote", "promote", "retry", "revert", "review", "review"),
)
"""What to draw a command from; what drives jobs on comes most often, and the smallest is first."""

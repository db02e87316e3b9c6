"""What a command costs in a full inventory: printed, and compared only with itself (run with `-s`)."""

from time import thread_time

import pytest

from statemachine import codec
from statemachine.commands import CancelJob, ClaimTask, Command, FinishAttempt, StartAttempt, SubmitJob
from statemachine.jobs import work
from statemachine.machine import apply, apply_entry
from statemachine.model import NODES_MAX, Endpoint, Node, Result, State, Transition
from statemachine.outcomes import Accepted
from statemachine.words import Ending, JobId, JobKind, NodeName, RequestId, Status
from tests.statemachine.chaos import BUNDLES
from tests.statemachine.fleet import AT, Fleet, digest, key_of

JOB_SIZE = 1_000


def inventory(count: int) -> State:
    """Return a state with `count` discovered nodes, made without sending `count` commands."""
    fleet = Fleet()
    fleet.bundle(1, BUNDLES[digest(1)])
    line = Transition(index=1, at=AT, status=Status.NEW, trigger="added", actor="ann")
    seen = Transition(index=1, at=AT, status=Status.DISCOVERED, trigger="sighted", actor="ann")
    nodes = {}
    for number in range(count):
        name = NodeName(f"node-{number:05d}")
        nodes[name] = Node(
            name=name,
            status=Status.DISCOVERED,
            endpoint=Endpoint(address=f"10.0.{number // 256}.{number % 256}"),
            host_key=key_of(name),
            machine_id=f"id-{name}",
            labels={"rack": f"r{number % 40}"},
            facts={"cpus": 4, "os": "debian", "memory_mb": 4096},
            history=(line, seen),
        )
    fleet.state = State(
        index=fleet.state.index, bundles=fleet.state.bundles, nodes=nodes, current_bundle=digest(1)
    )
    return fleet.state


class Stopwatch:
    """Applies commands through the log's door and keeps the times by kind."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.times: dict[str, list[float]] = {}

    def send(self, make: type[Command], **fields: object) -> Accepted:
        request = RequestId(f"r-{self.state.index}")
        command = make(request_id=request, at=AT, actor="ann", **fields)  # type: ignore[arg-type]  # by keyword
        entry = codec.encode_command(command)
        begun = thread_time()
        self.state, outcome, bug = apply_entry(self.state, entry)
        self.times.setdefault(make.__name__, []).append(thread_time() - begun)
        assert bug is None
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def pending(self) -> list[work.TaskDue]:
        begun = thread_time()
        due = work.pending(self.state)
        self.times.setdefault("pending()", []).append(thread_time() - begun)
        return [one for one in due if isinstance(one, work.TaskDue)]

    def step(self, due: work.TaskDue, epoch: int) -> None:
        """Announce and pass the owed attempt."""
        where = {"job": due.job, "node": due.node, "epoch": epoch}
        step = work.step_due(self.state, due.job, due.node, epoch)
        assert step is not None
        self.send(StartAttempt, **where, step=step.key, attempt=step.attempt)
        result = Result(step=step.key, attempt=step.attempt, ending=Ending.EXITED, exit_code=0)
        self.send(FinishAttempt, **where, result=result)

    def show(self, title: str) -> None:
        print(f"\n{title}")
        for name, times in self.times.items():
            ordered = sorted(times)
            median, worst = ordered[len(ordered) // 2], ordered[-1]
            print(
                f"  {name:15} {len(times):6} x  median {median * 1e6:8.0f} us  "
                f"p99 {ordered[len(ordered) * 99 // 100] * 1e6:8.0f} us  max {worst * 1e6:8.0f} us"
            )


@pytest.mark.parametrize("count", [JOB_SIZE, NODES_MAX])
def test_a_job_of_a_thousand_nodes_is_driven_through_and_its_cost_is_shown(count: int) -> None:
    watch = Stopwatch(inventory(count))
    nodes = tuple(watch.state.nodes)[:JOB_SIZE]
    job = watch.send(
        SubmitJob, kind=JobKind.COMMISSION, nodes=nodes, role="master", max_parallel=JOB_SIZE // 4
    ).ref
    for _ in range(60):
        for due in watch.pending()[:4]:
            epoch = watch.send(ClaimTask, job=due.job, node=due.node, claimant="r/1").epoch
            while work.step_due(watch.state, due.job, due.node, epoch):
                watch.step(due, epoch)
    watch.send(CancelJob, job=job)
    watch.show(f"{count} nodes, one job of {JOB_SIZE}")
    begun = thread_time()
    snapshot = codec.encode_state(watch.state)
    took = thread_time() - begun
    print(f"  snapshot {len(snapshot) / 1e6:.1f} MB in {took * 1e3:.0f} ms")
    assert watch.state.jobs[JobId(job)].state == "cancelled"
    assert apply(watch.state, CancelJob(request_id=RequestId("x"), at=AT, actor="a", job=JobId(job)))

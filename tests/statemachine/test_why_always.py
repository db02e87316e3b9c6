"""Whatever happened: why has an answer for every job and node, and is never silent about one that waits."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.commands import Command
from statemachine.machine import apply
from statemachine.model import State
from statemachine.why.jobs import why_job
from statemachine.why.nodes import why_node
from statemachine.why.reasons import CauseKind
from statemachine.words import JobState
from tests.statemachine.chaos import KINDS, Chaos, start
from tests.statemachine.fleet import AT

START = start()
COMMANDS_MAX = 150


def look(state: State, now: float) -> None:
    for job in state.jobs.values():
        head, *rest = why_job(state, job, now)
        assert head.kind is CauseKind.STATE
        assert head.message.startswith(f"{job.id}, {job.kind} of ")
        assert rest or job.state is not JobState.RUNNING, f"{job.id} runs, and nothing says what it waits for"
        assert all(cause.message for cause in rest)
    for node in state.nodes.values():
        head, *rest = why_node(state, node, now)
        assert head.message.startswith(f"{node.name} is {node.status}")
        assert rest
        if node.job:
            assert any(cause.kind is CauseKind.LOCK for cause in rest), f"{node.name} does not name its lock"


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_why_always_has_an_answer(seed: int) -> None:
    rng = Random(seed)
    state, sent = START, list[Command]()
    for number in range(COMMANDS_MAX):
        command = Chaos(rng, state, sent).command(rng.choice(KINDS))
        state, _ = apply(state, command)
        sent.append(command)
        if number % 5 == 0:
            look(state, AT + rng.randrange(1000))
    look(state, command.at)

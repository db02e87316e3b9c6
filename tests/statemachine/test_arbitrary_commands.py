"""Whatever is proposed, in whatever order: apply never raises, and the invariants hold after every command.

A failure prints the shortest story that Hypothesis found, and the line that repeats it.
"""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from statemachine import codec
from statemachine.commands import Barrier, Command
from statemachine.machine import apply, apply_entry
from statemachine.outcomes import Accepted, Rejected
from statemachine.words import REQUEST_ID
from tests.statemachine.chaos import KINDS, Chaos, start
from tests.statemachine.fleet import unchanged
from tests.statemachine.invariants import check_codec, check_step
from tests.statemachine.rollout_laws import Ledger

START = start()


class AnyCommands(RuleBasedStateMachine):
    """One replica that is sent whatever there is."""

    def __init__(self) -> None:
        super().__init__()
        self.state = START
        self.sent: list[Command] = []
        self.ledger = Ledger()

    @rule(kind=st.sampled_from(KINDS), rng=st.randoms(use_true_random=False))
    def send(self, kind: str, rng: Random) -> None:
        command = Chaos(rng, self.state, self.sent).command(kind)
        before = self.state
        self.state, outcome = apply(before, command)
        check_step(before, command, self.state, outcome)
        assert not (broken := [*self.ledger.entry(before, command, self.state, outcome)]), broken
        self._through_the_log(command)
        if isinstance(outcome, Accepted) or rng.randrange(4) == 0:
            self._again(command)
        self.sent.append(command)

    def _through_the_log(self, command: Command) -> None:
        """What apply does to a command, apply_entry does to its bytes."""
        before = self.state
        expected = apply(before, command)
        assert apply_entry(before, codec.encode_command(command)) == (*expected, None)

    def _again(self, command: Command) -> None:
        """A repeat is answered as the first time was, and changes nothing."""
        before = self.state
        first = next((one for one in self.sent if one.request_id == command.request_id), command)
        if isinstance(command, Barrier) or not REQUEST_ID.match(command.request_id):
            return
        self.state, outcome = apply(before, command)
        assert unchanged(before, self.state)
        assert isinstance(outcome, Accepted | Rejected)
        if first is command:
            known = next(memory for memory in before.requests if command.request_id in memory)
            assert outcome == codec.decode_outcome(known[command.request_id].outcome)

    def teardown(self) -> None:
        check_codec(self.state)


TestAnyCommands = pytest.mark.timeout(600)(AnyCommands.TestCase)  # a failure takes minutes to shrink
TestAnyCommands.settings = settings(settings.default, stateful_step_count=60)

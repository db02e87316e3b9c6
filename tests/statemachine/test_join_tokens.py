"""Join tokens: once, in time, for what they are for, and never known to the log."""

import hashlib

import pytest

from statemachine.cluster_commands import MakeJoinToken, RedeemJoinToken, RevokeJoinToken
from statemachine.joining import JOIN_TOKENS_MAX, JoinsAs
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import RequestId

KEY, OTHER_KEY = "a" * 64, "b" * 64
R2, R3 = "4f0c5c3e-7d7b-4f0e-9d0e-0d8d9a3f1b02", "4f0c5c3e-7d7b-4f0e-9d0e-0d8d9a3f1b03"
HOUR = 3600.0


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Log:
    """A state, and how often something was asked of it."""

    def __init__(self) -> None:
        self.state = State()
        self.count = 0

    def _stamps(self, at: float) -> dict[str, object]:
        self.count += 1
        return {"request_id": RequestId(f"q-{self.count}"), "at": at, "actor": "ada"}

    def _apply(self, command: object) -> Outcome:
        self.state, outcome = apply(self.state, command)  # type: ignore[arg-type]  # made from keywords
        return outcome

    def make(self, text: str = "s", at: float = 0.0, ttl: float = HOUR, **more: object) -> Outcome:
        wanted = {"joins_as": JoinsAs.REPLICA, **more}
        return self._apply(
            MakeJoinToken(**self._stamps(at), sha256=sha(text), expires_at=at + ttl, **wanted)  # type: ignore[arg-type]  # as above
        )

    def redeem(self, text: str = "s", at: float = 1.0, **more: object) -> Outcome:
        wanted = {"joins_as": JoinsAs.REPLICA, "name": "r2", "key": KEY, "replica": R2, **more}
        return self._apply(RedeemJoinToken(**self._stamps(at), sha256=sha(text), **wanted))  # type: ignore[arg-type]  # as above

    def revoke(self, token: str, at: float = 1.0) -> Outcome:
        return self._apply(RevokeJoinToken(**self._stamps(at), token=token))  # type: ignore[arg-type]  # as above


@pytest.fixture
def log() -> Log:
    made = Log()
    assert isinstance(made.make(), Accepted)
    return made


def refused(log: Log, outcome: Outcome, before: State) -> Rejected:
    assert isinstance(outcome, Rejected)
    assert log.state.join_tokens == before.join_tokens
    assert log.state.events == before.events
    return outcome


def test_a_token_lets_one_machine_join_and_says_who(log: Log) -> None:
    assert isinstance(log.redeem(), Accepted)
    (token,) = log.state.join_tokens.values()
    assert (token.joined, token.replica, token.key, token.used_at) == ("r2", R2, KEY, 1.0)
    assert [event.kind for event in log.state.events] == ["token.made", "token.used"]


def test_the_same_machine_may_ask_again_and_nothing_happens_twice(log: Log) -> None:
    first = log.redeem()
    before = log.state
    again = log.redeem(at=2.0)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (log.state.join_tokens, log.state.events) == (before.join_tokens, before.events)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"key": OTHER_KEY}, "was used already: r2"),
        ({"name": "r3"}, "was used already: r2"),
        ({"replica": R3}, "was used already: r2"),
        ({"at": HOUR}, "expired 0 s ago"),
    ],
)
def test_a_used_token_is_refused_to_everybody_else(log: Log, other: dict[str, object], says: str) -> None:
    log.redeem()
    before = log.state
    outcome = refused(log, log.redeem(**other), before)  # type: ignore[arg-type]  # from a table
    assert outcome.reason is Reason.NOT_ALLOWED
    assert says in outcome.message
    assert "token create" in outcome.hint


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"text": "guess"}, "none of this cluster's"),
        ({"at": HOUR + 60}, "expired 60 s ago"),
        ({"joins_as": JoinsAs.NODE, "replica": ""}, "is for a replica, not for a node"),
        ({"name": "R 2"}, "cannot join"),
        ({"key": "x"}, "cannot join"),
        ({"replica": "x"}, "cannot be the id"),
    ],
)
def test_a_wrong_use_is_refused_and_leaves_the_token_as_it_was(
    log: Log, wrong: dict[str, object], says: str
) -> None:
    before = log.state
    assert says in refused(log, log.redeem(**wrong), before).message  # type: ignore[arg-type]  # from a table
    assert isinstance(log.redeem(), Accepted)


def test_a_token_that_is_bound_to_a_name_lets_nobody_else_in() -> None:
    log = Log()
    log.make(name="r9")
    before = log.state
    assert "is for r9, not for r2" in refused(log, log.redeem(), before).message
    assert isinstance(log.redeem(name="r9"), Accepted)


def test_a_revoked_token_lets_nobody_in_and_a_used_one_cannot_be_revoked(log: Log) -> None:
    (token,) = log.state.join_tokens
    assert isinstance(log.revoke(token), Accepted)
    assert isinstance(log.revoke(token), Accepted)
    before = log.state
    assert "was revoked" in refused(log, log.redeem(), before).message
    log.make("t")
    assert isinstance(log.redeem("t"), Accepted)
    before = log.state
    assert "r2 has joined" in refused(log, log.revoke(sha("t")[:12]), before).message
    assert refused(log, log.revoke("nothing"), before).reason is Reason.NO_SUCH_TOKEN


@pytest.mark.parametrize("wrong", [{"ttl": 0.0}, {"ttl": 365 * 86_400.0}, {"name": "-"}])
def test_a_token_that_could_not_be_used_is_not_made(wrong: dict[str, object]) -> None:
    log = Log()
    before = log.state
    assert refused(log, log.make(**wrong), before).reason is Reason.INVALID  # type: ignore[arg-type]  # from a table


def test_tokens_are_bounded_and_only_ended_ones_are_dropped(log: Log) -> None:
    log.redeem()
    for number in range(JOIN_TOKENS_MAX):
        assert isinstance(log.make(f"more {number}", at=2.0), Accepted)
    assert len(log.state.join_tokens) == JOIN_TOKENS_MAX
    assert sha("s")[:12] not in log.state.join_tokens
    before = log.state
    assert refused(log, log.make("one more", at=2.0), before).reason is Reason.LIMIT
    assert isinstance(log.make("later", at=2.0 + HOUR), Accepted)

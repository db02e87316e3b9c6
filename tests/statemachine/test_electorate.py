"""What operators wish of the replicas: kept, bounded, told to watchers, and dropped when it says nothing."""

import pytest

from statemachine.cluster_commands import ReportReplica, SetElectorate, SetReplica
from statemachine.electorate import REPLICAS_MAX, REST_S_MAX, Electorate, ReplicaWish
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Accepted, Reason, Rejected


class Log:
    def __init__(self):
        self.state = State()
        self.count = 0

    def say(self, command, **fields):
        self.count += 1
        self.state, outcome = apply(
            self.state, command(request_id=f"q-{self.count}", at=1000.0, actor="ada", **fields)
        )
        return outcome


@pytest.fixture
def log():
    return Log()


@pytest.mark.parametrize("target", [1, 3, 5, 7])
def test_the_target_is_an_odd_number(log, target):
    assert isinstance(log.say(SetElectorate, target=target), Accepted)
    assert log.state.electorate.target == target


@pytest.mark.parametrize("target", [-1, 0, 2, 4, 9])
def test_no_other_target_is_taken_and_nothing_changes(log, target):
    outcome = log.say(SetElectorate, target=target)
    assert isinstance(outcome, Rejected)
    assert f"not {target}" in outcome.message
    assert log.state.electorate == Electorate()


def test_a_wish_leaves_alone_what_it_does_not_name(log):
    log.say(SetReplica, name="r1", domain="rack1")
    log.say(SetReplica, name="r1", standby=True)
    log.say(SetReplica, name="r1", rest_until=1060.0, rest_reason="a new disk")
    wish = ReplicaWish(domain="rack1", standby=True, rest_until=1060.0, rest_reason="a new disk")
    assert log.state.electorate.replicas == {"r1": wish}
    assert [event.message for event in log.state.events] == [
        "r1 is in the failure domain rack1",
        "r1 stays a standby",
        "r1 is away as planned",
    ]


def test_a_wish_that_says_nothing_any_more_is_dropped(log):
    log.say(SetReplica, name="r1", domain="rack1", standby=True)
    log.say(SetReplica, name="r1", domain="", standby=False, rest_until=0.0, rest_reason="")
    assert log.state.electorate.replicas == {}


def test_what_was_wished_before_is_no_news(log):
    log.say(SetElectorate, target=3)
    log.say(SetReplica, name="r1", domain="rack1")
    index, events = log.state.electorate.index, len(log.state.events)
    log.say(SetElectorate, target=3)
    log.say(SetReplica, name="r1", domain="rack1")
    assert (log.state.electorate.index, len(log.state.events)) == (index, events)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "R1"},
        {"name": "r1", "domain": "a b"},
        {"name": "r1", "domain": "x" * 64},
        {"name": "r1", "rest_until": 999.0},
        {"name": "r1", "rest_until": 1000.0 + REST_S_MAX + 1},
    ],
)
def test_a_bad_wish_is_refused_and_changes_nothing(log, fields):
    assert isinstance(log.say(SetReplica, **fields), Rejected)
    assert log.state.electorate == Electorate()


def test_wishes_are_bounded(log):
    for number in range(REPLICAS_MAX):
        log.say(SetReplica, name=f"r{number}", standby=True)
    outcome = log.say(SetReplica, name="one-more", standby=True)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.LIMIT
    assert isinstance(log.say(SetReplica, name="r0", standby=False), Accepted)
    assert isinstance(log.say(SetReplica, name="one-more", standby=True), Accepted)


def test_news_of_a_replica_are_told_and_change_nothing(log):
    log.say(ReportReplica, name="r3", kind="demoted", message="silent for 12 s")
    (event,) = log.state.events
    assert (event.kind, event.subject, event.message) == ("replica.demoted", "r3", "silent for 12 s")
    assert log.state.electorate == Electorate()
    assert isinstance(log.say(ReportReplica, name="r3", kind="Not a kind", message=""), Rejected)

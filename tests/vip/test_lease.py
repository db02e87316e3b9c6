"""Who may hold the address, with time that is only a number; and that two never do, for many histories."""

import itertools
import random

import pytest

from hamgr.raft.contact import Contact
from hamgr.raft.settings import Timers
from hamgr.vip.lease import HANDED_OVER_PROBE_S, MARGIN_S, PROBE_S, RETRY_S, Conflict, Step, Tenure

ELECTION_S_MIN = Timers().election_s_min
STRANGER = Conflict("10.0.0.5", "02:00:00:00:00:99", "")
OURS = Conflict("10.0.0.5", "02:00:00:00:00:01", "r1")


def contact(at: float, *, term: int = 1, handed_over: bool = False) -> Contact:
    return Contact(term=term, at=at, handed_over=handed_over)


def new() -> Tenure:
    return Tenure(election_s_min=ELECTION_S_MIN)


def holding(at: float = 0.0) -> Tenure:
    tenure = new()
    assert tenure.step(at, contact(at)) is Step.ASK
    assert tenure.step(at + PROBE_S, contact(at + PROBE_S)) is Step.TAKE
    tenure.taken()
    return tenure


def test_a_follower_does_nothing() -> None:
    assert new().step(5.0, None) is Step.NOTHING


def test_a_leader_asks_the_network_before_it_takes_the_address() -> None:
    tenure = new()
    assert tenure.step(1.0, contact(1.0)) is Step.ASK
    assert tenure.step(1.0 + PROBE_S - 0.001, contact(1.05)) is Step.LISTEN
    assert tenure.step(1.0 + PROBE_S, contact(1.05)) is Step.TAKE


def test_a_successor_by_handover_asks_shortly() -> None:
    tenure = new()
    assert tenure.step(1.0, contact(1.0, handed_over=True)) is Step.ASK
    assert tenure.step(1.0 + HANDED_OVER_PROBE_S, contact(1.0, handed_over=True)) is Step.TAKE


def test_a_successor_by_handover_asks_for_the_whole_time_when_the_former_holder_answers() -> None:
    tenure = new()
    tenure.step(1.0, contact(1.0, handed_over=True))
    tenure.answered(1.005, OURS)
    assert tenure.step(1.0 + PROBE_S - 0.001, contact(1.05, handed_over=True)) is Step.LISTEN
    assert tenure.step(1.0 + PROBE_S, contact(1.05, handed_over=True)) is Step.TAKE


def test_a_holder_renews_while_its_majority_follows() -> None:
    tenure = holding()
    assert tenure.step(9.0, contact(8.95)) is Step.RENEW
    assert tenure.until(contact(8.95)) == pytest.approx(8.95 + tenure.lease_s)


def test_a_holder_drops_the_address_when_its_majority_is_silent() -> None:
    tenure = holding()
    assert tenure.step(1.0 + tenure.lease_s, contact(1.0)) is Step.DROP


def test_a_holder_drops_the_address_when_it_no_longer_leads() -> None:
    assert holding().step(0.2, None) is Step.DROP


def test_an_address_that_was_lost_is_asked_for_again_before_it_is_taken_back() -> None:
    tenure = holding()
    tenure.lost()
    assert tenure.step(1.0, contact(1.0)) is Step.ASK


def test_a_new_term_is_a_new_question() -> None:
    tenure = new()
    assert tenure.step(1.0, contact(1.0, term=1)) is Step.ASK
    assert tenure.step(1.0 + PROBE_S, contact(1.05, term=2)) is Step.ASK


def test_from_a_stranger_the_address_is_not_taken_and_it_is_asked_ever_more_rarely() -> None:
    tenure, now, asked = new(), 0.0, []
    while now < 120.0:
        step = tenure.step(now, contact(now))
        assert step is not Step.TAKE
        if step is Step.ASK:
            asked.append(now)
            tenure.answered(now, STRANGER)
        now += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[0] == RETRY_S
    assert pauses == sorted(pauses)
    assert max(pauses) <= 30.0


def test_a_stranger_that_has_gone_is_noticed() -> None:
    tenure = new()
    tenure.step(0.0, contact(0.0))
    tenure.answered(0.01, STRANGER)
    later = 0.01 + RETRY_S
    assert tenure.step(later, contact(later)) is Step.ASK
    assert tenure.conflict is None
    assert tenure.step(later + PROBE_S, contact(later)) is Step.TAKE


def test_a_stranger_that_comes_later_does_not_take_the_address_from_a_holder() -> None:
    tenure = holding()
    tenure.answered(1.0, STRANGER)
    assert tenure.step(1.0, contact(1.0)) is Step.RENEW


def test_a_new_leader_forgets_the_troubles_of_an_earlier_time() -> None:
    tenure = new()
    tenure.step(0.0, contact(0.0))
    tenure.answered(0.0, STRANGER)
    tenure.step(0.1, None)
    assert tenure.step(0.2, contact(0.2, term=3)) is Step.ASK


def test_the_lease_is_over_before_another_leader_can_have_asked_the_network() -> None:
    assert new().lease_s + MARGIN_S == pytest.approx(ELECTION_S_MIN + PROBE_S)


@pytest.mark.parametrize("seed", range(300))
def test_two_leaders_never_hold_the_address_at_once(seed: int) -> None:
    """The old leader stands still and wakes as it likes; the new one is elected as soon as voters may.

    The address is gone at the latest when the watchdog's clock reaches the lease's end: that is `until`.
    """
    chance = random.Random(seed)
    old, new_one = holding(), new()
    last = contact(chance.uniform(1.0, 2.0))
    gone_at = old.until(last)
    elected = last.at + ELECTION_S_MIN + chance.choice([0.0, chance.uniform(0.0, 0.3)])
    now, taken_at = elected, None
    while taken_at is None:
        if new_one.step(now, contact(now, term=2)) is Step.TAKE:
            taken_at = now
        elif chance.random() < 0.1:
            new_one.answered(now, OURS)
        now += chance.uniform(0.0, 0.02)
    assert gone_at < taken_at
    while now < 5.0:  # whenever the old one wakes up, it lets go before it does anything else
        assert old.step(now, last) is Step.DROP
        now += chance.uniform(0.0, 1.0)

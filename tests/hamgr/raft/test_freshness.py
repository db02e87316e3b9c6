"""How old a state may be is never told too low."""

from types import SimpleNamespace

from hamgr.raft.freshness import Freshness


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def core_of(*, leads, commit=5, applied=5, term=2, term_at_commit=2, age_s=None):
    return SimpleNamespace(
        leads=leads,
        commit=commit,
        applied=applied,
        term=term,
        log=SimpleNamespace(term_at=lambda _index: term_at_commit),
        quorum_age_s=lambda: age_s,
    )


def test_nothing_is_known_before_anybody_was_heard():
    freshness = Freshness(Clock(), 0.4)
    freshness.look(core_of(leads=False))
    freshness.look(core_of(leads=True))
    assert freshness.age_s is None


def test_a_leaders_state_is_as_old_as_the_last_word_of_its_majority():
    clock = Clock()
    freshness = Freshness(clock, 0.4)
    freshness.look(core_of(leads=True, age_s=0.1))
    assert round(freshness.age_s, 6) == 0.1
    clock.now += 5
    assert round(freshness.age_s, 6) == 5.1


def test_a_leader_that_has_not_applied_or_committed_all_says_nothing_new():
    clock = Clock()
    freshness = Freshness(clock, 0.4)
    freshness.look(core_of(leads=True, age_s=0.1, applied=4))
    assert freshness.age_s is None
    freshness.look(core_of(leads=True, age_s=0.1, term_at_commit=1))
    assert freshness.age_s is None


def test_a_followers_state_is_as_old_as_what_its_leader_said_and_what_that_may_have_missed():
    clock = Clock()
    freshness = Freshness(clock, 0.4)
    freshness.leader_said(6)
    freshness.look(core_of(leads=False))
    assert freshness.age_s is None
    clock.now += 1
    freshness.look(core_of(leads=False, commit=6, applied=6))
    assert round(freshness.age_s, 6) == 1.4
    freshness.leader_said(6)
    freshness.look(core_of(leads=False, commit=6, applied=6, term_at_commit=1))
    assert round(freshness.age_s, 6) == 1.4
    freshness.look(core_of(leads=False, commit=6, applied=6))
    assert round(freshness.age_s, 6) == 0.4

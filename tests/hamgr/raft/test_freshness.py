"""How old a state may be is never told too low."""

from types import SimpleNamespace

from hamgr.raft.freshness import Freshness


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def core_of(*, leads, commit=5, applied=5, term=2, term_at_commit=2, age_s=None, asked=None):
    return SimpleNamespace(
        leads=leads,
        commit=commit,
        applied=applied,
        term=term,
        log=SimpleNamespace(term_at=lambda _index: term_at_commit),
        quorum_age_s=lambda: age_s,
        read_index=(asked if asked is not None else []).append,
    )


def test_nothing_is_known_before_anybody_was_heard():
    freshness = Freshness(Clock())
    freshness.look(core_of(leads=False))
    freshness.look(core_of(leads=True))
    assert freshness.age_s is None


def test_a_leaders_state_is_as_old_as_the_last_word_of_its_majority():
    clock = Clock()
    freshness = Freshness(clock)
    freshness.look(core_of(leads=True, age_s=0.1))
    assert round(freshness.age_s, 6) == 0.1
    clock.now += 5
    assert round(freshness.age_s, 6) == 5.1


def test_a_leader_that_stands_still_while_it_looks_is_older_and_never_younger():
    clock = Clock()
    freshness = Freshness(clock)
    leader = core_of(leads=True)

    def frozen_after_looking():
        clock.now += 3
        return 0.1

    leader.quorum_age_s = frozen_after_looking
    freshness.look(leader)
    assert round(freshness.age_s, 6) == 3.1


def test_a_leader_that_has_not_applied_or_committed_all_says_nothing_new():
    clock = Clock()
    freshness = Freshness(clock)
    freshness.look(core_of(leads=True, age_s=0.1, applied=4))
    assert freshness.age_s is None
    freshness.look(core_of(leads=True, age_s=0.1, term_at_commit=1))
    assert freshness.age_s is None


def test_a_followers_state_is_as_old_as_its_question_however_long_the_answer_took():
    clock, asked = Clock(), []
    freshness = Freshness(clock)
    freshness.look(core_of(leads=False, asked=asked))
    clock.now += 3
    asked.pop()(6)
    freshness.look(core_of(leads=False, asked=asked))
    assert freshness.age_s is None, "it lacks entry 6"
    clock.now += 1
    freshness.look(core_of(leads=False, commit=6, applied=6, asked=asked))
    assert round(freshness.age_s, 6) == 4


def test_a_question_is_put_seldom_and_more_often_to_whoever_wants_to_know():
    clock, asked = Clock(), []
    freshness = Freshness(clock)
    follower = core_of(leads=False, asked=asked)

    def questions_in(seconds):
        before = count = len(asked)
        end = clock.now + seconds
        while clock.now < end:
            clock.now += 0.05
            freshness.look(follower)
            if len(asked) > count:
                asked[-1](5)
                count = len(asked)
        return count - before

    assert questions_in(10) <= 6
    assert freshness.age_s <= 2.1
    assert questions_in(4) >= 12
    assert freshness.age_s <= 0.3


def test_one_question_at_a_time_and_one_that_nobody_confirms_is_put_again():
    clock, asked = Clock(), []
    freshness = Freshness(clock)
    follower = core_of(leads=False, asked=asked)
    for _ in range(100):
        clock.now += 0.1
        freshness.look(follower)
    assert len(asked) == 1
    asked.pop()(None)
    freshness.look(follower)
    assert len(asked) == 1
    assert freshness.age_s is None


def test_whose_state_went_back_knows_nothing_of_its_age():
    freshness = Freshness(Clock())
    freshness.look(core_of(leads=True, age_s=0.1))
    freshness.look(core_of(leads=False, applied=4))
    assert freshness.age_s is None

"""Who is at fault when states differ: the one against which a majority of the voters stands."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr.raft.agreement import Agreement
from hamgr.raft.protocol.membership import MEMBERS_MAX

A, B, C, D, E = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(5))
RIGHT, WRONG, OTHER = bytes(32), b"\1" * 32, b"\2" * 32
THREE, FIVE = frozenset({A, B, C}), frozenset({A, B, C, D, E})


def agreement(own, heard, index=100, **more):
    made = Agreement(**more)
    made.note(index, own)
    for peer, digest in heard.items():
        made.heard(peer, index, digest)
    return made


@pytest.mark.parametrize(
    ("own", "heard", "voters", "verdict"),
    [
        (WRONG, {B: RIGHT, C: RIGHT}, THREE, 100),
        (RIGHT, {B: RIGHT, C: WRONG}, THREE, None),
        (RIGHT, {B: WRONG, C: OTHER}, THREE, None),
        (WRONG, {B: RIGHT}, THREE, None),
        (WRONG, {}, THREE, None),
        (WRONG, {}, frozenset({A}), None),
        (WRONG, {B: RIGHT}, frozenset({A, B}), None),
        (WRONG, {B: RIGHT, C: RIGHT}, FIVE, None),
        (WRONG, {B: RIGHT, C: RIGHT, D: RIGHT}, FIVE, 100),
        (WRONG, {B: RIGHT, C: RIGHT, D: OTHER, E: OTHER}, FIVE, None),
        (WRONG, {B: WRONG, C: RIGHT, D: RIGHT, E: RIGHT}, FIVE, 100),
        (WRONG, {B: RIGHT, C: RIGHT, D: RIGHT, E: RIGHT}, frozenset({A, B, C, D}), 100),
        (WRONG, {B: RIGHT, C: RIGHT}, frozenset({A, B, C, D}), None),
    ],
)
def test_a_replica_is_at_fault_when_a_majority_of_the_voters_has_another_digest(own, heard, voters, verdict):
    assert agreement(own, heard).verdict(voters, A) == verdict


def test_a_learner_is_at_fault_when_the_voters_agree(monkeypatch):
    assert agreement(WRONG, {B: RIGHT, C: RIGHT}).verdict({B, C, D}, A) == 100
    assert agreement(WRONG, {B: RIGHT, C: WRONG}).verdict({B, C, D}, A) is None


def test_those_who_are_no_voters_do_not_count():
    heard = {B: RIGHT, D: RIGHT, E: RIGHT}
    assert agreement(WRONG, heard).verdict(THREE, A) is None
    assert agreement(WRONG, heard | {C: RIGHT}).verdict(THREE, A) == 100


def test_nobody_speaks_in_our_name():
    assert agreement(WRONG, {A: RIGHT, B: RIGHT}).verdict(THREE, A) is None


def test_a_peer_that_repeats_itself_counts_once_and_by_its_last_word():
    made = agreement(WRONG, {B: RIGHT})
    for _ in range(5):
        made.heard(B, 100, RIGHT)
    assert made.verdict(THREE, A) is None
    made.heard(C, 100, RIGHT)
    made.heard(B, 100, WRONG)
    assert made.verdict(THREE, A) is None


@pytest.mark.parametrize("order", list(itertools.permutations(["own", "B", "C"])))
def test_the_order_in_which_digests_come_does_not_matter(order):
    made = Agreement()
    for who in order:
        if who == "own":
            made.note(100, WRONG)
        else:
            made.heard({"B": B, "C": C}[who], 100, RIGHT)
    assert made.verdict(THREE, A) == 100


def test_only_the_same_index_is_compared_and_the_first_difference_is_told():
    made = Agreement()
    for index in (100, 200, 300):
        made.note(index, WRONG)
    for index in (150, 250, 350):
        made.heard(B, index, RIGHT)
        made.heard(C, index, RIGHT)
    assert made.verdict(THREE, A) is None
    for index in (300, 200):
        made.heard(B, index, RIGHT)
        made.heard(C, index, RIGHT)
    assert made.verdict(THREE, A) == 200


def test_after_another_state_was_taken_over_the_old_digests_are_forgotten():
    made = agreement(WRONG, {B: RIGHT, C: RIGHT})
    made.forget()
    assert made.verdict(THREE, A) is None
    made.note(100, RIGHT)
    assert made.verdict(THREE, A) is None


@pytest.mark.parametrize(
    ("index", "digest"), [(-1, RIGHT), (0, RIGHT), (1 << 60, RIGHT), (100, b""), (100, bytes(33))]
)
def test_what_is_no_index_or_no_digest_is_passed_over(index, digest):
    made = agreement(WRONG, {})
    for peer in (B, C):
        made.heard(peer, index, digest)
    assert made.verdict(THREE, A) is None
    assert not made._heard


def test_indexes_that_nobody_reaches_do_not_keep_out_the_real_ones():
    made = Agreement(keep=4)
    for far in range(1_000_000, 1_000_010):
        made.heard(B, far, OTHER)
    for index in (100, 200, 300, 400):
        made.note(index, WRONG)
        made.heard(B, index, RIGHT)
    made.heard(C, 100, RIGHT)
    assert made.verdict(THREE, A) == 100


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 500), st.sampled_from([RIGHT, WRONG]))))
def test_memory_is_bounded_whatever_is_heard(heard):
    made = Agreement(keep=3)
    for peer, index, digest in heard:
        made.note(index, digest)
        made.heard(str(peer), index, digest)
    for peer in range(200):
        made.heard(str(peer), 1, RIGHT)
    assert len(made._own) <= 3
    assert len(made._heard) <= MEMBERS_MAX
    assert all(len(digests) <= 3 for digests in made._heard.values())


@given(
    st.sampled_from([RIGHT, WRONG, OTHER]),
    st.dictionaries(st.sampled_from([B, C, D, E]), st.sampled_from([RIGHT, WRONG, OTHER])),
)
def test_there_is_never_a_majority_at_fault(own, heard):
    """Judged by each voter with the same digests, those at fault are fewer than those who are not."""
    digests = {A: own, **heard}
    at_fault = [
        one
        for one, digest in digests.items()
        if agreement(digest, {peer: said for peer, said in digests.items() if peer != one}).verdict(FIVE, one)
    ]
    assert len(at_fault) < 3
    assert len({digests[one] for one in digests.keys() - at_fault}) <= 1 or not at_fault

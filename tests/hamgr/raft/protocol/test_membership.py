"""The configuration that the log carries, and which changes of it are safe."""

import contextlib
import itertools

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import (
    FORMAT,
    MEMBERS_MAX,
    TEXT_CHARS_MAX,
    BadConfiguration,
    ChangeRefused,
    Configuration,
    Member,
    check_change,
    decode,
    encode,
)
from tests.hamgr.raft.protocol.kit import THREE, A, B, C, D, E, member

FIVE = Configuration((A, B, C), (D, E))


def fields(one):
    return [one.id, one.name, one.raft, one.api]


def test_a_configuration_survives_its_bytes():
    whole = Configuration((A, B, C), (member("d", api="https://d:1"), E))
    assert decode(encode(whole)) == whole
    assert decode(encode(Configuration())) == Configuration()


def test_the_same_members_give_the_same_bytes_in_whatever_order():
    assert encode(Configuration((C, A, B), (E, D))) == encode(FIVE)
    assert Configuration((C, A, B)).voters == tuple(sorted((A, B, C)))


def test_the_bytes_are_the_ones_that_other_versions_write():
    known = [FORMAT, [fields(one) for one in sorted((A, B, C))], [fields(one) for one in sorted((D, E))]]
    assert msgpack.unpackb(encode(FIVE)) == known


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x05",
        msgpack.packb([1]),
        msgpack.packb([1, []]),
        msgpack.packb([1, [], [], []]),
        msgpack.packb([1, 5, []]),
        msgpack.packb([1, [[1, 2, 3, 4]], []]),
        msgpack.packb([1, [fields(A)[:3]], []]),
        msgpack.packb([1, [[*fields(A), "x"]], []]),
        msgpack.packb([1, [["not-a-uuid", "a", "b", "c"]], []]),
        msgpack.packb([1, [[A.id.upper(), "a", "b", "c"]], []]),
        msgpack.packb([1, [[A.id, "a", "x" * (TEXT_CHARS_MAX + 1), ""]], []]),
        msgpack.packb([1, [fields(A), fields(A)], []]),
        msgpack.packb([1, [fields(A)], [fields(A)]]),
        msgpack.packb([2, [fields(A)], []]),
        encode(FIVE)[:-1],
        encode(FIVE) + b"\x00",
        b"\x91" * 2_000,
    ],
)
def test_what_is_no_configuration_of_this_version_is_refused(data):
    with pytest.raises(BadConfiguration):
        decode(data)


def test_a_later_version_is_named():
    with pytest.raises(BadConfiguration, match="its format is 3, and this version of hamgr reads 1 and 2"):
        decode(msgpack.packb([3, [], []]))


def test_what_an_earlier_version_reads_is_written_as_before_unless_fencing_is_armed():
    two = Configuration(FIVE.voters[:2], FIVE.learners)
    armed = two.with_fencing(True)
    before, after = msgpack.unpackb(encode(two)), msgpack.unpackb(encode(armed))
    assert (before[0], after[0]) == (1, 2)  # an earlier version refuses the latter, and says why
    assert before[1:] == after[1:]
    assert decode(encode(armed)) == armed
    assert not decode(encode(two)).armed


def test_fencing_is_armed_for_two_voters_only():
    with pytest.raises(ChangeRefused, match="fencing is for 2 only"):
        FIVE.with_fencing(True)
    with pytest.raises(BadConfiguration, match="it is for 2 only"):
        Configuration(FIVE.voters, (), armed=True)
    with pytest.raises(BadConfiguration, match="it is for 2 only"):
        decode(msgpack.packb([2, [], []]))


def test_while_fencing_is_armed_a_voter_goes_only_when_it_was_fenced_and_none_comes():
    armed = Configuration(FIVE.voters[:2], FIVE.voters[2:]).with_fencing(True)
    gone, spare = FIVE.voters[0].id, FIVE.voters[2].id
    for after in (armed.promoted(spare), armed.demoted(gone), armed.without(gone)):
        with pytest.raises(ChangeRefused, match="disarm it"):
            check_change(armed, after)
    with pytest.raises(ChangeRefused, match="disarm it"):
        check_change(armed, armed.promoted(spare), fenced=True)
    check_change(armed, armed.demoted(gone), fenced=True)
    check_change(armed, armed.with_fencing(False))
    check_change(armed, armed.without(spare))
    assert armed.without(spare).armed
    assert armed.with_learner(FIVE.learners[0]).armed
    with pytest.raises(ChangeRefused, match="do it afterwards"):
        check_change(Configuration(FIVE.voters[:1], FIVE.voters[1:]), armed)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_junk_raises_nothing_else(data):
    with contextlib.suppress(BadConfiguration):
        decode(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(encode(FIVE)) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(place, byte):
    data = bytearray(encode(FIVE))
    data[place] = byte
    with contextlib.suppress(BadConfiguration):
        decode(bytes(data))


@pytest.mark.parametrize("what", ["id", "name", "raft"])
def test_two_members_share_nothing(what):
    twin = Member(**{**{key: getattr(D, key) for key in ("id", "name", "raft")}, what: getattr(A, what)})
    with pytest.raises(BadConfiguration, match=f"share their {what}"):
        Configuration((A,), (twin,))


def test_two_members_may_be_without_an_address_for_clients():
    assert Configuration((A, B)).voters[0].api == ""


def test_there_are_not_more_members_than_may_be():
    many = [
        Member(id=str(member(f"m{n}a").id), name=f"m{n}", raft=f"127.0.0.1:{n}")
        for n in range(MEMBERS_MAX + 1)
    ]
    assert len(Configuration(tuple(many[1:])).members) == MEMBERS_MAX
    with pytest.raises(BadConfiguration, match="65 members are more than 64"):
        Configuration(tuple(many))


@pytest.mark.parametrize(("voters", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_is_more_than_half_of_the_voters(voters, quorum):
    assert Configuration((A, B, C, D, E)[:voters]).quorum == quorum
    if voters < 5:
        assert Configuration((A, B, C, D)[:voters], (E,)).quorum == quorum


def test_members_are_found_by_their_id():
    assert FIVE.member(D.id) == D
    assert THREE.member(D.id) is None
    assert FIVE.voter_ids == {A.id, B.id, C.id}
    assert FIVE.ids == {A.id, B.id, C.id, D.id, E.id}


def test_a_learner_is_added_moved_promoted_and_removed():
    with_d = THREE.with_learner(D)
    assert with_d == Configuration((A, B, C), (D,))
    moved = Member(id=D.id, name=D.name, raft="127.0.0.1:1")
    assert with_d.with_learner(moved).learners == (moved,)
    assert with_d.promoted(D.id) == Configuration((A, B, C, D))
    assert with_d.without(D.id) == THREE
    assert THREE.without(B.id) == Configuration((A, C))


@pytest.mark.parametrize("replica", [A.id, D.id])
def test_only_a_learner_can_be_promoted(replica):
    with pytest.raises(ChangeRefused, match=f"{replica} is not a learner"):
        THREE.promoted(replica)


def test_a_voter_is_made_a_learner():
    assert THREE.demoted(C.id) == Configuration((A, B), (C,))
    assert THREE.demoted(C.id).promoted(C.id) == THREE
    check_change(THREE, THREE.demoted(C.id))


@pytest.mark.parametrize("replica", [D.id, E.id])
def test_only_a_voter_can_be_made_a_learner(replica):
    with pytest.raises(ChangeRefused, match=f"{replica} is not a voter"):
        Configuration((A, B, C), (D,)).demoted(replica)


def test_only_a_member_can_be_removed():
    with pytest.raises(ChangeRefused, match=f"{D.id} is not a member"):
        THREE.without(D.id)


def test_one_voter_at_a_time_may_change():
    for after in (THREE, THREE.without(C.id), Configuration((A, B, C, D)), FIVE):
        check_change(THREE, after)
    check_change(FIVE, FIVE.promoted(D.id))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (THREE, Configuration((A, B, D)), "one voter"),
        (THREE, Configuration((A,)), "one voter"),
        (THREE, Configuration((A, B, C, D, E)), "one voter"),
        (Configuration((A,)), Configuration((), (B,)), "last voter"),
    ],
)
def test_a_change_whose_majorities_might_not_overlap_is_refused(before, after, why):
    with pytest.raises(ChangeRefused, match=why):
        check_change(before, after)


def test_every_change_that_is_allowed_leaves_majorities_that_overlap():
    some = [
        Configuration(some) for count in range(6) for some in itertools.combinations((A, B, C, D, E), count)
    ]
    for before in some[1:]:
        for after in some:
            try:
                check_change(before, after)
            except ChangeRefused:
                continue
            all_voters = before.voter_ids | after.voter_ids
            assert before.quorum + after.quorum > len(all_voters)


def test_the_format_is_the_first_there_was():
    assert membership.FORMAT == 1

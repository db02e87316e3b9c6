"""Snapshots between replicas, piece by piece."""

import pytest

from hamgr.raft.protocol.snapshots import PIECE_BYTES, Reception, Refused, Transfer
from tests.hamgr.raft.protocol.kit import B, C

CONTENT = bytes(range(256)) * 3_000


class Damaged(Exception):
    """What the files raise here."""


class Outgoing:
    size_bytes = len(CONTENT)

    def __init__(self):
        self.closed = False

    def read(self, offset, count):
        return CONTENT[offset : offset + count]

    def close(self):
        self.closed = True


class Incoming:
    def __init__(self):
        self.content, self.abandoned = b"", False

    @property
    def size_bytes(self):
        return len(self.content)

    def write(self, offset, data):
        if offset != len(self.content) or b"damage" in data:
            raise Damaged("it does not fit")
        self.content += data

    def finish(self):
        if self.content.endswith(b"half"):
            raise Damaged("it is not whole")
        return self.content

    def abandon(self):
        self.abandoned = True


class Follower:
    def __init__(self):
        self.files, self.installed, self.wants = [], [], True

    def begin(self):
        self.files.append(Incoming())
        return self.files[-1]

    def install(self, snapshot):
        if not self.wants:
            raise Refused("it is old")
        self.installed.append(snapshot)


@pytest.fixture
def follower():
    return Follower()


@pytest.fixture
def reception(follower):
    return Reception(follower, Damaged)


def piece(offset, data, *, last=False, transfer=1, term=3):
    return {"term": term, "transfer": transfer, "offset": offset, "data": data, "last": last}


def send(reception, *pieces, sender=B.id):
    return [reception.take(sender, one) for one in pieces]


def refused(reception, one, sender=B.id):
    with pytest.raises(Refused) as caught:
        reception.take(sender, one)
    return str(caught.value)


def test_a_transfer_comes_out_as_it_went_in(reception, follower):
    transfer, messages = Transfer(7, Outgoing()), []
    while True:
        assert transfer.due
        messages.append(transfer.piece(3, 5.0))
        assert not transfer.due
        if transfer.taken(reception.take(B.id, messages[-1])):
            break
    assert follower.installed == [CONTENT]
    assert [len(message["data"]) for message in messages[:-1]] == [PIECE_BYTES] * (len(messages) - 1)
    assert [message["last"] for message in messages] == [False] * (len(messages) - 1) + [True]
    assert {(m["type"], m["term"], m["transfer"], m["sent_at"]) for m in messages} == {
        ("snapshot_piece", 3, 7, 5.0)
    }


def test_a_piece_is_sent_again_until_it_is_taken():
    transfer = Transfer(1, Outgoing())
    first = transfer.piece(3, 1.0)
    assert transfer.piece(3, 1.0) == first
    assert not transfer.taken(0)
    assert not transfer.due
    assert not transfer.taken(PIECE_BYTES)
    assert transfer.due
    assert transfer.piece(3, 1.0)["offset"] == PIECE_BYTES


@pytest.mark.parametrize("offset", [0, PIECE_BYTES - 1, PIECE_BYTES, len(CONTENT) + 1, 2**52])
def test_an_answer_that_goes_back_or_beyond_the_end_moves_nothing(offset):
    transfer = Transfer(1, Outgoing())
    transfer.taken(PIECE_BYTES)
    transfer.piece(3, 1.0)
    assert not transfer.taken(offset)
    assert not transfer.due


def test_nothing_is_put_in_force_before_the_last_piece(reception, follower):
    assert send(reception, piece(0, b"aa"), piece(2, b"bb")) == [2, 4]
    assert follower.installed == []
    assert send(reception, piece(4, b"cc", last=True)) == [6]
    assert follower.installed == [b"aabbcc"]
    assert not follower.files[0].abandoned


def test_a_piece_that_comes_twice_is_answered_and_written_once(reception, follower):
    assert send(reception, piece(0, b"aa"), piece(0, b"aa"), piece(2, b"bb"), piece(0, b"aa")) == [2, 2, 4, 4]
    assert follower.files[0].content == b"aabb"
    assert len(follower.files) == 1


def test_after_the_end_every_piece_is_answered_with_the_whole(reception, follower):
    whole = [piece(0, b"aa"), piece(2, b"bb", last=True)]
    send(reception, *whole)
    assert send(reception, *whole) == [4, 4]
    assert (len(follower.files), len(follower.installed)) == (1, 1)


def test_a_gap_is_refused_and_what_came_is_forgotten(reception, follower):
    send(reception, piece(0, b"aa"))
    assert "does not fit" in refused(reception, piece(3, b"bb"))
    assert follower.files[0].abandoned
    assert "without those before" in refused(reception, piece(2, b"bb"))
    assert follower.installed == []


def test_a_transfer_that_begins_in_the_middle_is_refused(reception, follower):
    assert "without those before" in refused(reception, piece(2, b"bb"))
    assert follower.files == []


@pytest.mark.parametrize("other", [{"transfer": 2}, {"term": 4}, {"sender": C.id}])
def test_another_transfer_takes_the_place_of_one_that_is_under_way(reception, follower, other):
    sender = other.pop("sender", B.id)
    send(reception, piece(0, b"aa"))
    assert send(reception, piece(0, b"xx", **other), sender=sender) == [2]
    assert [one.abandoned for one in follower.files] == [True, False]
    assert "without those before" in refused(reception, piece(2, b"bb"))
    assert send(reception, piece(0, b"xx", **other), sender=sender) == [2]


def test_a_transfer_that_begins_anew_begins_an_empty_file(reception, follower):
    send(reception, piece(0, b"aa"))
    reception.abandon()
    assert send(reception, piece(0, b"aa"), piece(2, b"bb", last=True)) == [2, 4]
    assert follower.installed == [b"aabb"]


@pytest.mark.parametrize("bad", [piece(2, b"damage"), piece(2, b"half", last=True)])
def test_a_damaged_one_is_refused_and_can_be_sent_again(reception, follower, bad):
    send(reception, piece(0, b"aa"))
    assert refused(reception, bad)
    assert follower.installed == []
    assert follower.files[0].abandoned
    send(reception, piece(0, b"aa"), piece(2, b"bb", last=True))
    assert follower.installed == [b"aabb"]


def test_one_that_is_of_no_use_is_refused_and_removed(reception, follower):
    follower.wants = False
    assert refused(reception, piece(0, b"aa", last=True)) == "it is old"
    assert follower.files[0].abandoned
    follower.wants = True
    assert send(reception, piece(0, b"aa", last=True)) == [2]
    assert follower.installed == [b"aa"]


def test_who_abandons_nothing_may_do_so_again(reception, follower):
    reception.abandon()
    send(reception, piece(0, b"aa"))
    reception.abandon()
    reception.abandon()
    assert follower.files[0].abandoned


def test_a_transfer_closes_its_file():
    outgoing = Outgoing()
    Transfer(1, outgoing).close()
    assert outgoing.closed

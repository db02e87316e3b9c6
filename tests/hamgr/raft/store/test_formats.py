"""Files that replicas in the field have written: read for ever, and still written to the byte.

A test that fails here because a format was changed on purpose is mended by a new format number, a new golden
file, and a reader for the old one (docs/storage.md); never by a new golden file in place of the old one.
"""

from pathlib import Path

import pytest

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration, Member
from hamgr.raft.store import identity as identities
from hamgr.raft.store.identity import Stored, decode_identity, decode_starts
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.snapshot import Snapshot, checked_parts, decode_snapshot, encode_parts
from hamgr.raft.store.storage import Storage

GOLDEN = Path(__file__).parent / "golden"
ONE, TWO = "c0ffee00-0000-4000-8000-0000000000aa", "c0ffee00-0000-4000-8000-0000000000bb"
CLUSTER = "c0ffee00-0000-4000-8000-000000000001"
FOLDER = bytes(range(16))
LAST, BEFORE_LAST = (b"\0two", 12, 3), (b"\0one", 11, 2)
STORED = Stored(
    cluster=CLUSTER, replica=membership.ReplicaId(ONE), folder=FOLDER, machine=b"\xaa" * 32, inode=123_456
)
CONFIGURATION = Configuration(
    (Member(id=ONE, name="r1", raft="10.0.0.1:7401", api="https://10.0.0.1:7400"),),
    (Member(id=TWO, name="r2", raft="10.0.0.2:7401"),),
)


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def write_journal(path: Path) -> None:
    """Write every kind of record, with and without a vote, and compact once."""
    journal = Journal(Storage(), path, None, identity=FOLDER)
    for index in range(1, 6):
        journal.add(b"entry %d" % index, index, 1)
    journal.sync()
    journal.setRaftCommitIndex(3)
    journal.deleteEntriesTo(2)
    journal.deleteEntriesFrom(2)
    journal.add(b"", 5, 2)
    journal.setCurrentTerm(2, ONE)
    journal.sync()
    journal.add(b"\xb1BARRIER\x00\xff", 6, 2)
    journal.setCurrentTerm(3, None)
    journal.sync()
    journal.close()


def test_a_journal_of_format_1_is_read_to_the_last_value():
    found = recover(GOLDEN / "journal-1", golden("journal-1"))
    assert (found.header.identity, found.header.generation) == (FOLDER, 2)
    assert found.entries == [
        (b"entry 3", 3, 1),
        (b"entry 4", 4, 1),
        (b"", 5, 2),
        (b"\xb1BARRIER\x00\xff", 6, 2),
    ]
    barrier = found.barrier
    assert (barrier.sequence, barrier.commit, barrier.term, barrier.vote) == (5, 3, 3, None)
    assert found.dropped_bytes == 0


def test_a_vote_in_a_journal_of_format_1_is_read():
    data = golden("journal-1")
    found = recover(GOLDEN / "journal-1", data[: data.rindex(b"\xb1BARRIER\x00\xff")])
    assert (found.barrier.term, found.barrier.vote) == (2, ONE)


def check_snapshot(found: Snapshot) -> None:
    assert (found.last, found.before_last) == (LAST, BEFORE_LAST)
    assert found.state.index == 2
    assert {name: node.endpoint.address for name, node in found.state.nodes.items()} == {
        "alpha": "alpha.example",
        "beta": "beta.example",
    }


def test_a_snapshot_of_format_1_is_read_and_has_no_configuration():
    found = decode_snapshot(golden("snapshot-1"))
    check_snapshot(found)
    assert found.configuration == b""


def test_a_snapshot_of_format_2_is_read_with_its_configuration():
    found = decode_snapshot(golden("snapshot-2"))
    check_snapshot(found)
    assert membership.decode(found.configuration) == CONFIGURATION


def test_an_identity_and_starts_of_format_1_are_read():
    assert decode_identity(golden("identity-1")) == STORED
    assert decode_starts(golden("starts-1"), FOLDER) == 42


def test_what_is_written_today_is_what_was_written_then(tmp_path):
    write_journal(tmp_path / "journal")
    assert (tmp_path / "journal").read_bytes() == golden("journal-1")
    _place, encoded = checked_parts(golden("snapshot-2"))
    assert encode_parts(decode_snapshot(golden("snapshot-2")), encoded) == golden("snapshot-2")
    assert STORED.encode() == golden("identity-1")
    (tmp_path / "starts").write_bytes(golden("starts-1"))
    identities.begin(tmp_path, identities.Identity(cluster=CLUSTER, replica=ONE, folder=FOLDER))
    begun = (tmp_path / "starts").read_bytes()
    assert decode_starts(begun, FOLDER) == 43
    assert len(begun) == len(golden("starts-1"))
    assert begun[:-5] == golden("starts-1")[:-5]


@pytest.mark.parametrize("name", ["journal", "snapshot", "identity"])
def test_every_format_that_is_described_has_a_golden_file(name):
    numbers = sorted(int(path.name.rpartition("-")[2]) for path in GOLDEN.glob(f"{name}-*"))
    assert numbers == list(range(1, {"journal": 1, "snapshot": 2, "identity": 1}[name] + 1))

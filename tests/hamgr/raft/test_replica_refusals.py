"""What a replica refuses to run with, and that refusing changes nothing."""

import asyncio
import dataclasses
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import Configuration
from hamgr.raft.replica import RaftReplica
from hamgr.raft.settings import InvalidSettings, Timers
from tests.hamgr.raft import kit
from tests.hamgr.raft.member import Lost, Member
from tests.ports import free_ports

LONG_S = 20.0


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(1, tmp_path)[0]


@pytest.mark.parametrize(
    "address", ["localhost:7000", "r1:7000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:7000", ""]
)
def test_an_address_that_is_none_is_refused_by_name(settings, address):
    with pytest.raises(InvalidSettings, match="r1"):
        dataclasses.replace(settings, address=address)


def test_a_list_of_members_that_contradicts_the_replica_or_has_no_voter_is_refused(settings):
    own = kit.member_of(settings)
    for initial in (
        Configuration((dataclasses.replace(own, raft="127.0.0.1:1"),)),
        Configuration((dataclasses.replace(own, name="r2"),)),
        Configuration((), (own,)),
    ):
        with pytest.raises(InvalidSettings):
            dataclasses.replace(settings, initial=initial)


@pytest.mark.parametrize(
    "change",
    [
        {"heartbeat_s": 0.0},
        {"heartbeat_s": 0.07},
        {"election_s_max": 0.2},
        {"election_s_min": 50.0, "election_s_max": 61.0, "quorum_lost_s": 50.0},
        {"quorum_lost_s": 0.1},
        {"quorum_lost_s": 61.0},
    ],
)
def test_timers_that_cannot_work_together_are_refused_by_name(change):
    with pytest.raises(InvalidSettings, match="timers"):
        Timers(**change)


@pytest.mark.parametrize(
    "change",
    [{"snapshot_entries": 1}, {"snapshot_bytes": 0}, {"resend_s": 0.0}, {"resend_s": 3.0}],
)
def test_settings_that_cannot_work_are_refused(settings, change):
    with pytest.raises(InvalidSettings):
        dataclasses.replace(settings, **change)


async def test_a_busy_port_is_one_clear_error_and_nothing_is_stored(settings):
    host, _, port = settings.address.rpartition(":")
    before = (settings.data_dir / "journal").read_bytes()
    with socket.create_server((host, int(port))), pytest.raises(CannotStart, match=settings.address):
        await RaftReplica(settings).start()
    assert (settings.data_dir / "journal").read_bytes() == before
    replica = RaftReplica(settings)
    await replica.start()
    await replica.stop()


async def test_a_folder_that_was_never_made_or_was_emptied_is_one_clear_error(settings):
    shutil.rmtree(settings.data_dir)
    with pytest.raises(CannotStart, match=f"{settings.data_dir}.*hamgrd init"):
        await RaftReplica(settings).start()
    assert not settings.data_dir.exists()


async def test_a_certificate_of_another_replica_is_refused_and_nothing_is_stored(tmp_path):
    first, other = kit.settings_of(2, tmp_path)
    before = (first.data_dir / "journal").read_bytes()
    with pytest.raises(CannotStart, match=str(other.credentials.certificate)):
        await RaftReplica(dataclasses.replace(first, credentials=other.credentials)).start()
    assert (first.data_dir / "journal").read_bytes() == before


async def test_two_replicas_never_share_a_folder(settings):
    first = RaftReplica(settings)
    await first.start()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    own = dataclasses.replace(kit.member_of(settings), raft=address)
    other_port = dataclasses.replace(settings, address=address, initial=Configuration((own,)))
    with pytest.raises(CannotStart, match="in use"):
        await RaftReplica(other_port).start()
    process = Member(other_port)
    with pytest.raises(Lost):
        await process.start()
    await process.kill()
    await first.propose(kit.add_node("a"), timeout_s=LONG_S)
    await first.stop()
    second = RaftReplica(other_port)
    await second.start()
    assert "a" in (await second.read(timeout_s=LONG_S)).nodes
    await second.stop()


async def test_the_folder_is_for_its_owner_only(settings):
    settings.data_dir.chmod(0o755)
    replica = RaftReplica(settings)
    await replica.start()
    await replica.stop()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


async def test_the_port_is_bound_on_its_address_only(settings):
    replica = RaftReplica(settings)
    await replica.start()
    port = int(settings.address.rpartition(":")[2])
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listening = [line[1] for line in table if line[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
    await replica.stop()


async def test_a_stopped_replica_leaves_no_thread_and_no_open_file(settings):
    await asyncio.to_thread(lambda: None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        replica = RaftReplica(settings)
        await replica.start()
        await replica.propose(kit.set_globals(x=1), timeout_s=LONG_S)
        await replica.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("raft-")]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_a_start_that_is_cancelled_leaves_the_folder_free(settings):
    task = asyncio.ensure_future(RaftReplica(settings).start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    replica = RaftReplica(settings)
    await replica.start()
    await replica.stop()

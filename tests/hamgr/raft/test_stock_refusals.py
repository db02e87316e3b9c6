"""What a replica refuses to run with, and that refusing changes nothing."""

import asyncio
import dataclasses
import socket
import stat
import threading
from pathlib import Path

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.settings import InvalidSettings
from hamgr.raft.stock import StockReplica
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import QUICK
from tests.hamgr.raft.member import Lost, Member

LONG_S = 20.0


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(1, tmp_path, **QUICK)[0]


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:7000",
        "10.0.0.1:7000",
        "192.168.1.2:7000",
        "localhost:7000",
        "[::1]:7000",
        "127.0.0.1",
        "127.0.0.1:0",
    ],
)
def test_an_address_that_is_not_loopback_is_refused_by_name(settings, address):
    with pytest.raises(InvalidSettings, match="r1"):
        dataclasses.replace(settings, address=address)
    with pytest.raises(InvalidSettings, match="other"):
        dataclasses.replace(settings, peers={"other": (address, "http://other")})


@pytest.mark.parametrize(
    "password", ["", "secret", "a" * 100, kit.PASSWORD[:42]], ids=["none", "short", "not random", "42 of 43"]
)
def test_a_password_that_is_missing_short_or_not_random_is_refused_without_being_shown(settings, password):
    with pytest.raises(InvalidSettings, match="password") as refusal:
        dataclasses.replace(settings, password=password)
    assert len(password) < 6 or password not in str(refusal.value)


def test_the_password_is_not_shown_with_the_settings(settings):
    assert kit.PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    "change",
    [
        {"peers": {"r1": ("127.0.0.1:7001", "")}},
        {"peers": {"": ("127.0.0.1:7001", "")}},
        {"name": ""},
        {"peers": {"a": ("127.0.0.1:7001", ""), "b": ("127.0.0.1:7001", "")}},
        {"heartbeat_s": 0.2},
        {"election_s_max": 0.1},
        {"quorum_lost_s": 0.05},
        {"link_silent_s_max": 0.1},
        {"snapshot_entries": 1},
    ],
)
def test_settings_that_cannot_work_together_are_refused(settings, change):
    with pytest.raises(InvalidSettings):
        dataclasses.replace(settings, **change)


async def test_a_busy_port_is_one_clear_error_and_nothing_is_stored(settings):
    host, _, port = settings.address.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(CannotStart, match=settings.address):
        await StockReplica(settings).start()
    assert not (settings.data_dir / "journal").exists()
    replica = StockReplica(settings)
    await replica.start()
    await replica.stop()


async def test_a_folder_that_cannot_be_made_is_one_clear_error(settings):
    settings.data_dir.write_text("this is a file")
    with pytest.raises(CannotStart, match=str(settings.data_dir)):
        await StockReplica(settings).start()
    assert settings.data_dir.read_text() == "this is a file"


async def test_two_replicas_never_share_a_folder(settings):
    first = StockReplica(settings)
    await first.start()
    other_port = dataclasses.replace(settings, address=f"127.0.0.1:{kit.free_ports(1)[0]}")
    with pytest.raises(CannotStart, match="in use"):
        await StockReplica(other_port).start()
    process = Member(other_port)
    with pytest.raises(Lost):
        await process.start()
    await process.kill()
    await first.propose(kit.add_node("a"), timeout_s=LONG_S)
    await first.stop()
    second = StockReplica(other_port)
    await second.start()
    assert "a" in (await second.read(timeout_s=LONG_S)).nodes
    await second.stop()


async def test_the_folder_is_for_its_owner_only(settings):
    settings.data_dir.mkdir(mode=0o755)
    replica = StockReplica(settings)
    await replica.start()
    await replica.stop()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


async def test_the_port_is_bound_on_loopback_only(settings):
    replica = StockReplica(settings)
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
        replica = StockReplica(settings)
        await replica.start()
        await replica.propose(kit.set_globals(x=1), timeout_s=LONG_S)
        await replica.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("raft-")]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_a_start_that_is_cancelled_leaves_the_folder_free(settings):
    task = asyncio.ensure_future(StockReplica(settings).start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    replica = StockReplica(settings)
    await replica.start()
    await replica.stop()

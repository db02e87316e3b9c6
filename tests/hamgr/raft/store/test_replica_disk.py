"""A whole replica whose disk fails or is full: it says so, acknowledges nothing more, and loses nothing."""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys

import pytest

from hamgr.raft.port import CannotStart, ConsensusError, OutcomeUnknown
from hamgr.raft.replica import RaftReplica
from hamgr.raft.store.storage import Storage
from tests.hamgr.raft import kit
from tests.hamgr.raft.store import alone
from tests.hamgr.raft.store.alone import LONG_S, settings_at
from tests.hamgr.raft.store.test_failing_disk import disk, refusing_disk

__all__ = ["disk", "refusing_disk"]  # fixtures


def run(folder, count, disk):
    """Run a replica in a process of its own until `count` nodes more are acknowledged, or it fails."""
    ended = subprocess.run(
        [sys.executable, str(alone.PROGRAM), str(folder), str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **disk.env},
    )
    return ended.returncode, ended.stdout.split(), ended.stderr


@pytest.mark.parametrize(
    ("call", "name", "error"),
    [
        ("fdatasync", "journal", errno.EIO),
        ("write", "journal.new", errno.ENOSPC),
        ("fsync", "data", errno.EIO),
    ],
)
async def test_a_process_whose_disk_fails_under_it_says_which_file_and_loses_nothing(
    tmp_path, disk, call, name, error
):
    status, first, words = await asyncio.to_thread(run, tmp_path / "r1", 40, disk)
    assert (status, len(first)) == (0, 40), words
    settings = settings_at(tmp_path / "r1", snapshot_entries=64)
    again = asyncio.create_task(asyncio.to_thread(run, tmp_path / "r1", 1_000_000, disk))
    size = (settings.data_dir / "journal").stat().st_size
    await kit.until(lambda: (settings.data_dir / "journal").stat().st_size > size + 500)
    disk.refuse(call, name, error)
    status, second, words = await again
    assert status == alone.EXIT_FAILED, words
    assert str(settings.data_dir) in words
    assert os.strerror(error) in words
    assert "start the replica again" in words
    disk.heal()
    replica = RaftReplica(settings)
    await replica.start()
    nodes = (await replica.read(timeout_s=LONG_S)).nodes
    assert len(second) > 0
    assert set(first) | set(second) <= set(nodes)
    await replica.stop()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
async def test_a_replica_whose_disk_fails_says_which_file_and_acknowledges_nothing(
    tmp_path, monkeypatch, error
):
    settings = settings_at(tmp_path / "r1")
    told = asyncio.get_running_loop().create_future()
    replica = RaftReplica(settings, on_failure=told.set_result)
    await replica.start()
    await replica.propose(kit.add_node("a"), timeout_s=LONG_S)

    def broken(_storage, _file):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(Storage, "sync", broken)
    with pytest.raises(OutcomeUnknown):
        await replica.propose(kit.add_node("b"), timeout_s=LONG_S)
    why = await asyncio.wait_for(told, LONG_S)
    assert str(settings.data_dir / "journal") in why
    assert os.strerror(error) in why
    assert "start the replica again" in why
    assert list(replica.state.nodes) == ["a"]
    await replica.stop()
    with pytest.raises(CannotStart, match="cannot be written"):
        await RaftReplica(settings).start()
    monkeypatch.undo()
    again = RaftReplica(settings)
    await again.start()
    assert "a" in (await again.read(timeout_s=LONG_S)).nodes
    await again.stop()


@pytest.mark.lab
async def test_a_full_disk_stops_the_replica_and_space_brings_everything_back(tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "hamgr-test", mounted], check=True)
    try:
        settings = settings_at(mounted / "r1", snapshot_entries=100_000)
        told = asyncio.get_running_loop().create_future()
        replica = RaftReplica(settings, on_failure=told.set_result)
        await replica.start()
        names = []
        while not told.done():
            with contextlib.suppress(ConsensusError):
                await replica.propose(kit.add_node(f"n{len(names)}"), timeout_s=LONG_S)
                names.append(f"n{len(names)}")
        assert "No space left on device" in await asyncio.wait_for(told, LONG_S)
        await replica.stop()
        subprocess.run(["mount", "-o", "remount,size=8m", mounted], check=True)
        again = RaftReplica(settings)
        await again.start()
        assert len(names) > 100
        assert set(names) <= set((await again.read(timeout_s=LONG_S)).nodes)
        await again.stop()
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)

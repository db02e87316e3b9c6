"""Processes that are killed, and disks that fail or are full, under a journal and a replica that are real."""

import asyncio
import contextlib
import errno
import os
import random
import signal
import subprocess
import time

import pytest

from hamgr.raft.port import CannotStart, ConsensusError, OutcomeUnknown
from hamgr.raft.stock import StockReplica
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.storage import Storage
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import QUICK

LONG_S = 20.0
KILLS = 40
KEPT = 30


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(1, tmp_path, **QUICK)[0]


def write_for_ever(path, acknowledged, seed):
    """Append, sync, say so, and compact often; in a process that is going to be killed."""
    journal = Journal(Storage(), path, recover(path, path.read_bytes()))
    shuffle = random.Random(seed)
    index = journal[-1][1] if len(journal) else 0
    while True:
        for _ in range(shuffle.randint(1, 5)):
            index += 1
            journal.add(b"\0" + shuffle.randbytes(shuffle.randint(1, 3_000)), index, 1)
        journal.setCurrentTerm(index, f"127.0.0.1:{index}")
        journal.sync()
        os.write(acknowledged, b"%d\n" % index)
        if len(journal) > 2 * KEPT:
            journal.deleteEntriesTo(len(journal) - KEPT)


def killed_writer(path, seed):
    """Let a process write for some milliseconds, kill it, and return what it acknowledged last."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_for_ever(path, writing, seed)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answers.readline()
        time.sleep(random.Random(seed).random() * 0.04)
        os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        return [int(line) for line in answers.read().split()]


def test_a_writer_that_is_killed_again_and_again_keeps_what_it_acknowledged(tmp_path):
    path = tmp_path / "journal"
    Journal(Storage(), path, None).close()
    last = generations = 0
    for seed in range(KILLS):
        last = max([last, *killed_writer(path, seed)])
        found = recover(path, path.read_bytes())
        indexes = [entry[1] for entry in found.entries]
        assert indexes[-1] >= last
        assert indexes == list(range(indexes[0], indexes[-1] + 1))
        assert len(indexes) >= min(KEPT, last)
        assert found.barrier.term == indexes[-1]
        assert found.barrier.vote == f"127.0.0.1:{indexes[-1]}"
        generations = found.header.generation
    assert generations > KILLS // 4


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
async def test_a_replica_whose_disk_fails_says_which_file_and_acknowledges_nothing(
    settings, monkeypatch, error
):
    told = asyncio.get_running_loop().create_future()
    replica = StockReplica(settings, on_failure=told.set_result)
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
    with pytest.raises(CannotStart, match="could not be written safely"):
        await StockReplica(settings).start()
    monkeypatch.undo()
    again = StockReplica(settings)
    await again.start()
    assert "a" in (await again.read(timeout_s=LONG_S)).nodes
    await again.stop()


@pytest.mark.lab
async def test_a_full_disk_stops_the_replica_and_space_brings_everything_back(settings):
    settings.data_dir.mkdir()
    mounted = str(settings.data_dir)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "hamgr-test", mounted], check=True)
    try:
        told = asyncio.get_running_loop().create_future()
        replica = StockReplica(settings, on_failure=told.set_result)
        await replica.start()
        names = []
        while not told.done():
            with contextlib.suppress(ConsensusError):
                await replica.propose(kit.add_node(f"n{len(names)}"), timeout_s=LONG_S)
                names.append(f"n{len(names)}")
        assert "No space left on device" in await asyncio.wait_for(told, LONG_S)
        await replica.stop()
        subprocess.run(["mount", "-o", "remount,size=8m", mounted], check=True)
        again = StockReplica(settings)
        await again.start()
        assert len(names) > 100
        assert set(names) <= set((await again.read(timeout_s=LONG_S)).nodes)
        await again.stop()
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)

"""Real processes whose disk refuses a write or a sync, is full, or that are killed: nothing safe is lost."""

import errno
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hamgr.raft.store.check import examine
from tests.hamgr.raft.store.writer import EXIT_CANNOT_START, EXIT_DISK, Writer, rebuilt

KILLS = 16


@pytest.fixture(scope="session")
def refusing_disk(tmp_path_factory) -> Path:
    """The compiled library to preload."""
    compiler = shutil.which("gcc")
    assert compiler is not None, (
        "gcc is missing, and without it nobody knows what a failing disk does to a real process; "
        "install the packages gcc and libc6-dev"
    )
    library = tmp_path_factory.mktemp("refusing-disk") / "refusing_disk.so"
    source = Path(__file__).with_name("refusing_disk.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return library


class Disk:
    """The disk of one process; `refuse` and `heal` change it while the process runs."""

    def __init__(self, library: Path, orders: Path) -> None:
        self.env = {"LD_PRELOAD": str(library), "HAMGR_TEST_DISK": str(orders)}
        self._orders = orders

    def refuse(self, call: str, name: str, error: int) -> None:
        beside = self._orders.with_suffix(".new")
        beside.write_text(f"{call} {name} {error}")
        beside.replace(self._orders)

    def heal(self) -> None:
        self._orders.unlink()


@pytest.fixture
def disk(refusing_disk, tmp_path) -> Disk:
    return Disk(refusing_disk, tmp_path / "orders")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "data"


def check_all_is_there(path: Path, safe: int) -> None:
    report = examine(path)
    assert report.sound, report.lines()
    _state, index = rebuilt(path)
    assert index >= safe


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("write", "journal"),
        ("fdatasync", "journal"),
        ("write", "journal.new"),
        ("fdatasync", "journal.new"),
        ("fsync", "data"),
    ],
)
def test_a_process_whose_disk_refuses_stops_with_one_sentence_and_comes_back_with_everything(
    path, disk, call, name, error
):
    writer = Writer(path, env=disk.env)
    writer.wait_for(40)
    disk.refuse(call, name, error)
    status, words = writer.ended()
    assert status == EXIT_DISK, words
    [sentence] = words.splitlines()
    assert str(path) in sentence
    assert os.strerror(error) in sentence
    assert "then start the replica again" in sentence
    check_all_is_there(path, writer.safe)
    disk.heal()
    again = Writer(path, env=disk.env)
    again.wait_for(writer.safe + 20)
    check_all_is_there(path, again.kill())


def test_a_process_whose_disk_refuses_from_the_beginning_does_not_start(path, disk):
    first = Writer(path, env=disk.env)
    first.wait_for(40)
    safe = first.kill()
    for call, name in (("fdatasync", "journal"), ("fsync", "data"), ("write", "starts.new")):
        disk.refuse(call, name, errno.EIO)
        status, words = Writer(path, env=disk.env).ended()
        assert status == EXIT_CANNOT_START, words
        assert f"the data folder {path}" in words
        disk.heal()
        check_all_is_there(path, safe)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_snapshot_that_does_not_fit_on_the_disk_costs_one_line_and_no_change(path, disk, call):
    writer = Writer(path, env=disk.env)
    writer.wait_for(40)
    disk.refuse(call, "snapshot.new", errno.ENOSPC)
    writer.wait_for(writer.safe + 40)
    before = examine_snapshot(path)
    writer.wait_for(writer.safe + 150)
    assert examine_snapshot(path) == before
    disk.heal()
    deadline = time.monotonic() + 20
    while examine_snapshot(path) == before:
        writer.wait_for(writer.safe + 1)
        assert time.monotonic() < deadline
    writer.process.kill()
    _status, words = writer.ended()
    [refusal, relief] = words.splitlines()
    assert "could not be written" in refusal
    assert os.strerror(errno.ENOSPC) in refusal
    assert "snapshots can be written again" in relief
    check_all_is_there(path, writer.safe)


def examine_snapshot(path):
    return (path / "snapshot").stat().st_ino, (path / "snapshot").stat().st_mtime_ns


def test_a_process_that_is_killed_again_and_again_in_compaction_keeps_what_was_safe(path):
    shuffle = random.Random(5)
    safe, snapshots, generation = 0, set(), 0
    for seed in range(KILLS):
        writer = Writer(path, seed=seed, entries=shuffle.choice((2, 3, 16)))
        writer.wait_for(safe + shuffle.randint(1, 80))
        time.sleep(shuffle.random() * 0.005)  # anywhere between two entries
        safe = max(safe, writer.kill())
        check_all_is_there(path, safe)
        report = examine(path)
        assert report.identity["starts"] == seed + 1
        assert report.journal["term"] == report.journal["last"]
        assert report.journal["vote"] == report.identity["replica"]
        generation = report.journal["generation"]
        snapshots.add(report.snapshot and report.snapshot["index"])
    assert len(snapshots) > KILLS // 3
    assert generation > KILLS


@pytest.mark.lab
def test_a_full_disk_stops_the_process_and_space_brings_everything_back(tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "hamgr-test", mounted], check=True)
    try:
        writer = Writer(mounted / "data", entries=100_000)
        status, words = writer.ended()
        assert status == EXIT_DISK
        assert "No space left on device" in words
        assert writer.safe > 100
        check_all_is_there(mounted / "data", writer.safe)
        status, words = Writer(mounted / "data").ended()
        assert status in (EXIT_CANNOT_START, EXIT_DISK)
        assert "No space left on device" in words
        check_all_is_there(mounted / "data", writer.safe)
        subprocess.run(["mount", "-o", "remount,size=16m", mounted], check=True)
        again = Writer(mounted / "data")
        again.wait_for(writer.safe + 100)
        check_all_is_there(mounted / "data", again.kill())
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)

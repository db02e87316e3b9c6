"""Logs on a replica's disk: bounded, checked, and whole whatever crashes or the disk does to them."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamgr.logs.pieces import Attempt, Kept
from hamgr.logs.store import LogDamaged, StoreUnusable, number_of
from tests.hamgr.logs.kit import JOB, MIB, attempt, kept, noise, record, store


def job(number: int) -> str:
    return f"abcd1234-j-{number}"


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.put(JOB, {attempt(1): record(attempt(1), b"one"), attempt(2): record(attempt(2), b"")})
    first.put(JOB, {attempt(3): record(attempt(3), b"three")})
    for opened in (first, store(tmp_path)):
        assert opened.get(attempt(1)) == kept(attempt(1), b"one")
        assert opened.get(attempt(2)) == kept(attempt(2), b"")
        assert opened.get(attempt(3)) == kept(attempt(3), b"three")
        assert opened.get(attempt(4)) is None
        assert opened.settled(attempt(3))
        assert not opened.settled(attempt(4))
        assert opened.stored_bytes == (tmp_path / f"{JOB}.log").stat().st_size


def test_an_attempt_is_stored_once(tmp_path: Path) -> None:
    opened = store(tmp_path)
    opened.put(JOB, {attempt(): record(attempt(), b"first")})
    before = opened.stored_bytes
    opened.put(JOB, {attempt(): record(attempt(), b"second")})
    assert (opened.get(attempt()), opened.stored_bytes) == (kept(attempt(), b"first"), before)


@given(cut=st.integers(0, 10_000), tail=st.binary(max_size=40))
@settings(max_examples=40, deadline=None)
def test_what_a_crash_cut_off_is_dropped_and_all_before_it_stays(
    tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    whole = [record(attempt(number), b"output %d\n" % number) for number in (1, 2, 3)]
    data = b"".join(whole)
    left = data[: cut % (len(data) + 1)] + tail
    (folder / f"{JOB}.log").write_bytes(left)
    opened = store(folder)
    ends = [len(b"".join(whole[:number])) for number in (1, 2, 3)]
    there = [number for number, end in zip((1, 2, 3), ends, strict=True) if left.startswith(data[:end])]
    assert [n for n in (1, 2, 3) if opened.settled(attempt(n))] == there
    opened.put(JOB, {attempt(4): record(attempt(4), b"later")})
    again = store(folder)
    assert again.get(attempt(4)) == kept(attempt(4), b"later")
    for number in there:
        assert again.get(attempt(number)) == kept(attempt(number), b"output %d\n" % number)


def test_a_damaged_record_is_found_at_the_start_and_the_others_stay(tmp_path: Path) -> None:
    opened = store(tmp_path)
    for number in (1, 2, 3):
        opened.put(JOB, {attempt(number): record(attempt(number), b"output %d" % number)})
    path = tmp_path / f"{JOB}.log"
    data = bytearray(path.read_bytes())
    length = len(record(attempt(1), b"output 1"))
    for place in (length + 2, 2 * length - 1):  # its head, then its body
        broken = bytearray(data)
        broken[place] ^= 0x40
        path.write_bytes(broken)
        again = store(tmp_path)
        assert again.damaged == 1
        assert [again.settled(attempt(number)) for number in (1, 2, 3)] == [True, False, True]
        assert again.get(attempt(3)) == kept(attempt(3), b"output 3")
        again.put(JOB, {attempt(2): record(attempt(2), b"output 2")})
        assert store(tmp_path).get(attempt(2)) == kept(attempt(2), b"output 2")


def test_damage_that_comes_later_is_told_and_never_served(tmp_path: Path) -> None:
    opened = store(tmp_path)
    opened.put(JOB, {attempt(1): record(attempt(1), b"one"), attempt(2): record(attempt(2), b"two")})
    path = tmp_path / f"{JOB}.log"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogDamaged, match="content is damaged"):
        opened.get(attempt(2))
    assert opened.get(attempt(2)) is None
    assert not opened.settled(attempt(2))
    assert opened.damaged == 1
    assert opened.get(attempt(1)) == kept(attempt(1), b"one")


def test_the_oldest_jobs_logs_go_first_and_for_good(tmp_path: Path) -> None:
    opened = store(tmp_path, bytes_max=MIB)
    for number in (9, 10, 11):
        whose = attempt(job=job(number))
        opened.put(job(number), {whose: record(whose, noise(400_000, number))})
    assert opened.stored_bytes <= MIB
    for again in (opened, store(tmp_path, bytes_max=MIB)):
        assert again.get(attempt(job=job(9))) is None
        assert again.settled(attempt(job=job(9))), "it would be fetched, and dropped, for ever"
        assert again.get(attempt(job=job(10))) is not None
        assert again.get(attempt(job=job(11))) is not None
        again.put(job(9), {attempt(job=job(9)): record(attempt(job=job(9)))})
        assert again.get(attempt(job=job(9))) is None


def test_one_job_cannot_take_more_than_there_is_and_says_so(tmp_path: Path) -> None:
    opened = store(tmp_path, bytes_max=MIB)
    opened.put(JOB, {attempt(1): record(attempt(1), noise(600_000))})
    with pytest.raises(StoreUnusable, match="bytes_max"):
        opened.put(JOB, {attempt(2): record(attempt(2), noise(600_000, 2))})
    with pytest.raises(StoreUnusable, match="bytes_max"):
        opened.put(JOB, {attempt(3): record(attempt(3), noise(2 * MIB, 3))})
    assert opened.get(attempt(1)) is not None
    assert not opened.settled(attempt(2))


def test_the_reserve_of_the_disk_is_left_alone(tmp_path: Path) -> None:
    opened = store(tmp_path, reserve_bytes=2**60)
    with pytest.raises(StoreUnusable, match="kept free"):
        opened.put(JOB, {attempt(): record(attempt())})
    assert opened.jobs() == (JOB,)
    assert not opened.settled(attempt())


def test_a_failed_write_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = store(tmp_path)
    opened.put(JOB, {attempt(1): record(attempt(1), b"one")})

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreUnusable, match="make room"):
            opened.put(JOB, {attempt(2): record(attempt(2), b"two")})
    assert not opened.settled(attempt(2))
    assert (tmp_path / f"{JOB}.log").stat().st_size == opened.stored_bytes
    opened.put(JOB, {attempt(3): record(attempt(3), b"three")})
    assert store(tmp_path).get(attempt(3)) == kept(attempt(3), b"three")


def test_a_forgotten_job_leaves_no_file(tmp_path: Path) -> None:
    opened = store(tmp_path)
    opened.put(JOB, {attempt(): record(attempt())})
    opened.forget(JOB)
    opened.forget(JOB)
    assert list(tmp_path.iterdir()) == []
    assert (opened.get(attempt()), opened.stored_bytes, opened.jobs()) == (None, 0, ())


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "UPPER.log").write_text("mine too")
    (tmp_path / "abcd1234-j-1.new").write_text("of a crash")
    opened = store(tmp_path)
    assert opened.jobs() == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["UPPER.log", "notes.txt"]


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="file"):
        store(tmp_path / "file")
    with pytest.raises(StoreUnusable, match="not the name of a job"):
        store(tmp_path / "logs").put("../etc/passwd", {})


def test_readers_and_a_writer_do_not_disturb_each_other(tmp_path: Path) -> None:
    opened = store(tmp_path)
    wrong: list[Attempt] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for number in range(1, 60):
                found = opened.get(attempt(number))
                if found is not None and found != kept(attempt(number), b"output %d" % number):
                    wrong.append(attempt(number))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        opened.put(JOB, {attempt(number): record(attempt(number), b"output %d" % number)})
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


@pytest.mark.parametrize(("name", "number"), [(JOB, 2), ("x-j-17", 17), ("simulated-j-", None), ("x", None)])
def test_a_jobs_number_is_read_from_its_name(name: str, number: int | None) -> None:
    assert number_of(name) == number


def test_a_file_of_format_1_is_read_for_ever(tmp_path: Path) -> None:
    name = "abcd1234-j-7"
    shutil.copy(Path(__file__).parent / "golden" / f"{name}.log", tmp_path)
    opened = store(tmp_path)
    one = Attempt(name, "web-1", "work.00.app.install", 1)
    two, lost = one._replace(number=2), one._replace(node="n\u00f6de")
    assert opened.get(one) == Kept(attempt=one, head=b"hello\nworld\n", size=12)
    assert opened.get(two) == Kept(attempt=two, head=b"head\n", tail=b"tail\n", size=1000)
    assert opened.get(lost) == Kept(attempt=lost, head=b"", size=0, note="n\u00f6de: knows no such attempt")
    assert opened.damaged == 0

"""Attempts, outputs and folders that the tests of the stored logs use."""

from pathlib import Path

from hamgr.logs import records
from hamgr.logs.pieces import Attempt, Kept
from hamgr.logs.store import LogStore

JOB = "abcd1234-j-2"
MIB = 1024 * 1024


def attempt(number: int = 1, *, job: str = JOB, node: str = "n1", step: str = "work.00.app.one") -> Attempt:
    return Attempt(job, node, step, number)


def kept(whose: Attempt, text: bytes = b"hello\n") -> Kept:
    return Kept(attempt=whose, head=text, size=len(text))


def record(whose: Attempt, text: bytes = b"hello\n") -> bytes:
    return records.encode(kept(whose, text))


def store(folder: Path, *, bytes_max: int = 64 * MIB, reserve_bytes: int = 0) -> LogStore:
    """Return an open store."""
    made = LogStore(folder, bytes_max=bytes_max, reserve_bytes=reserve_bytes)
    made.open()
    return made


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that deflate cannot shorten, the same each time."""
    state, found = seed, bytearray()
    while len(found) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        found += state.to_bytes(8, "little")
    return bytes(found[:size])

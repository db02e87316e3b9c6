"""A sealed file opens whole and unchanged, or not at all."""

import io
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from hamgr.backup import sealed
from hamgr.backup.sealed import CHUNK_BYTES, TAG_BYTES, BadBackup, Header, Opener, Sealer

KEY = bytes(range(32))
HEADER = Header(
    cluster="c" * 32, replica="r1", index=7, at=1_700_000_000.0, version="1.2.3", key_id=sealed.key_id(KEY)
)
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)


def seal(data: bytes, *, key: bytes = KEY, header: Header = HEADER) -> bytes:
    file = io.BytesIO()
    sealer = Sealer(file, key, header)
    for start in range(0, len(data), 10_000):
        sealer.write(data[start : start + 10_000])
    sealer.finish()
    return file.getvalue()


def opened(content: bytes, tmp_path: Path, *, key: bytes = KEY) -> bytes:
    return io.BufferedReader(Opener(tmp_path / "b", io.BytesIO(content), key)).read()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_is_opened(tmp_path: Path, size: int) -> None:
    data = secrets.token_bytes(size)
    assert opened(seal(data), tmp_path) == data


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_is_cut_anywhere_or_goes_on_is_refused(tmp_path: Path, size: int) -> None:
    whole = seal(bytes(size))
    head = len(whole) - size - TAG_BYTES * max(1, -(-size // CHUNK_BYTES))
    sealed_chunk = CHUNK_BYTES + TAG_BYTES
    ends = {0, 1, head - 1, head, head + 1, len(whole) - 1, len(whole) - TAG_BYTES}
    ends |= {head + number * sealed_chunk for number in range(4)}
    for end in sorted(end for end in ends if 0 <= end < len(whole)):
        with pytest.raises(BadBackup):
            opened(whole[:end], tmp_path)
    for more in (b"\0", whole[head:], seal(b"")):
        with pytest.raises(BadBackup):
            opened(whole + more, tmp_path)


def test_a_bit_that_is_flipped_anywhere_is_refused(tmp_path: Path) -> None:
    whole = seal(b"state" * 100)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(BadBackup, match="/b: "):
            opened(bytes(damaged), tmp_path)


def test_chunks_of_another_place_or_file_are_refused(tmp_path: Path) -> None:
    size = CHUNK_BYTES + TAG_BYTES
    one, other = seal(bytes(3 * CHUNK_BYTES)), seal(bytes(3 * CHUNK_BYTES))
    head = len(one) - 3 * size
    chunks = [one[head + n * size : head + (n + 1) * size] for n in range(3)]
    for wrong in ([1, 0, 2], [0, 2], [0, 1, 1, 2], [0, 1]):
        with pytest.raises(BadBackup):
            opened(one[:head] + b"".join(chunks[n] for n in wrong), tmp_path)
    with pytest.raises(BadBackup):
        opened(one[:head] + other[head : head + size] + one[head + size :], tmp_path)


def test_another_key_is_named_and_a_header_that_was_changed_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match=sealed.key_id(KEY)):
        opened(seal(b"x"), tmp_path, key=bytes(32))
    forged = seal(b"x", header=replace(HEADER, index=8))
    honest = seal(b"x")
    with pytest.raises(BadBackup):
        opened(forged[: len(forged) - 17] + honest[len(honest) - 17 :], tmp_path)


def test_the_header_is_read_without_a_key(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(seal(b"x"))
    assert sealed.read_header(tmp_path / "b") == HEADER


@pytest.mark.parametrize("content", [b"", b"HAMGR", b"\x7fELF" + bytes(100), bytes(1000)])
def test_what_is_no_backup_is_called_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadBackup, match="no backup"):
        opened(content, tmp_path)


def test_a_later_format_is_refused_naming_both(tmp_path: Path) -> None:
    later = bytearray(seal(b"x"))
    later[8] = 2
    with pytest.raises(BadBackup, match=r"format is 2.*reads 1 only"):
        opened(bytes(later), tmp_path)


def test_a_key_id_tells_nothing_of_the_key() -> None:
    assert sealed.key_id(KEY) != sealed.key_id(bytes(32))
    assert len(sealed.key_id(KEY)) == 2 * sealed.KEY_ID_BYTES

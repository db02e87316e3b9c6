"""The library's journal, read by us before the library does.

1. The library takes a record of terms and votes that it cannot read for "never voted"; a replica could then
   vote twice in a term. Importing this module makes that an error (and has the file closed).
2. `read_journal` checks the whole file: the library believes its length fields and would serve what it
   finds between them.
"""

import itertools
import struct
from pathlib import Path
from typing import Any, TypeAlias

from pysyncobj import journal as library
from pysyncobj import pickle as library_pickle

LogEntry: TypeAlias = tuple[bytes, int, int]
"""Command, index, term; as the library keeps it."""

_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<QQ")


class JournalDamaged(ValueError):
    """The journal, or the record of terms and votes beside it, cannot be trusted."""


def read_journal(path: Path) -> list[LogEntry]:
    """Return the entries of the journal at `path`.

    Raises:
        JournalDamaged: The file is shorter than it says, or its records do not fit together.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    if not data.startswith(library.APP_NAME) or len(data) < library.FIRST_RECORD_OFFSET:
        raise JournalDamaged("the journal does not begin as one does")
    end = _LENGTH.unpack_from(data, library.LAST_RECORD_OFFSET_OFFSET)[0]
    entries: list[LogEntry] = []
    offset: int = library.FIRST_RECORD_OFFSET
    while offset < end:
        try:
            size = _LENGTH.unpack_from(data, offset)[0]
            index, term = _HEAD.unpack_from(data, offset + _LENGTH.size)
            size_again = _LENGTH.unpack_from(data, offset + _LENGTH.size + size)[0]
        except struct.error as error:
            raise JournalDamaged("the journal ends in the middle of a record") from error
        if size != size_again or size < _HEAD.size:
            raise JournalDamaged(f"the journal's record at byte {offset} is damaged")
        start = offset + _LENGTH.size
        entries.append((data[start + _HEAD.size : start + size], index, term))
        offset = start + size + _LENGTH.size
    if any(after[1] != before[1] + 1 for before, after in itertools.pairwise(entries)):
        raise JournalDamaged("entries are missing inside the journal")
    return entries


def cut_journal(path: Path, count: int) -> None:
    """Forget the first `count` entries of the journal at `path`."""
    journal = library.FileJournal(str(path))
    try:
        journal.deleteEntriesTo(count)
    finally:
        journal._destroy()  # noqa: SLF001 - the library's only way to close it


def read_votes(journal_path: Path) -> dict[str, Any]:
    """Return the record of terms and votes that belongs to a journal; empty when there is none.

    Raises:
        JournalDamaged: There is one, and it cannot be read.
    """
    path = Path(f"{journal_path}.meta")
    if not path.exists():
        return {}
    try:
        votes = library_pickle.loads(path.read_bytes())
    except Exception as error:
        raise JournalDamaged("the record of terms and votes is damaged") from error
    if not isinstance(votes, dict) or "currentTerm" not in votes:
        raise JournalDamaged("the record of terms and votes is incomplete")
    return votes


def _get_meta(storer: Any) -> dict[str, Any]:
    return read_votes(Path(storer.getPath().removesuffix(".meta")))


library.MetaStorer.getMeta = _get_meta

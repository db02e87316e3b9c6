"""What of a journal's file is to be believed after a crash.

1. The journal writes a batch (records and a barrier), syncs it, and only then writes the next one. So at
   most the last batch is not on the disk, and nobody was told of it.
2. A power cut leaves such a batch cut off by the end of the file, or with sectors that were never written
   and read as zeros. If that is what ails the batch after the last whole one, it is dropped.
3. Everything else is damage to what may have been acknowledged, and is refused with its offset: any other
   wrong byte, whether in the last batch or before it, and whatever is wrong ahead of two more barriers.
"""

from dataclasses import dataclass
from pathlib import Path

from hamgr.raft.store.records import (
    BARRIER_MARK,
    HEAD_BYTES,
    HEADER_BYTES,
    Barrier,
    Codec,
    Header,
    Kind,
    LogEntry,
    NotAHeader,
    NotARecord,
    Record,
    barrier_of,
    decode_header,
)

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


class JournalDamaged(ValueError):
    """The journal cannot be trusted; the message names the file and the offset.

    Attributes:
        offset, what: The same in parts.
    """

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(f"{path} is damaged at byte {offset}: {what}")
        self.offset = offset
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A journal as it stood at its last barrier.

    Attributes:
        end: Where the believed bytes end.
        dropped_bytes: How many follow them, of a batch that nobody was told of.
    """

    header: Header
    entries: list[LogEntry]
    barrier: Barrier
    end: int
    dropped_bytes: int


def recover(path: Path, data: bytes) -> Recovered:
    """Return what `data`, the content of the journal at `path`, says.

    Raises:
        JournalDamaged: Some of it may have been acknowledged, and cannot be read.
    """
    try:
        header = decode_header(data)
    except NotAHeader as error:
        raise JournalDamaged(path, 0, str(error)) from error
    codec = Codec(header)
    replay = _Replay(path)
    end = offset = HEADER_BYTES
    while offset < len(data):
        try:
            record = codec.decode(data, offset)
        except NotARecord as wrong:
            if not _was_never_whole(data, wrong, batch_start=end) or _batches_follow(
                codec, data, offset, replay.barrier
            ):
                raise JournalDamaged(path, offset, "the checksum of a record does not match") from wrong
            break
        replay.obey(record, offset)
        offset = record.end
        if record.kind is Kind.BARRIER:
            end = offset
    if replay.barrier.sequence == 0:
        raise JournalDamaged(path, HEADER_BYTES, "its first batch, which was synced with it, is not whole")
    return Recovered(
        header=header,
        entries=replay.entries,
        barrier=replay.barrier,
        end=end,
        dropped_bytes=len(data) - end,
    )


class _Replay:
    """The log while it is read."""

    def __init__(self, path: Path) -> None:
        self.entries: list[LogEntry] = []
        self.barrier = Barrier()
        self._path = path
        self._batch: list[tuple[Record, int]] = []

    def obey(self, record: Record, offset: int) -> None:
        """Take a record over; its batch counts from its barrier on."""
        self._batch.append((record, offset))
        if record.kind is Kind.BARRIER:
            for each, at in self._batch:
                self._apply(each, at)
            self._batch.clear()

    def _apply(self, record: Record, offset: int) -> None:
        match record.kind:
            case Kind.ENTRY:
                if self.entries and (
                    record.index != self.entries[-1][1] + 1 or record.term < self.entries[-1][2]
                ):
                    raise JournalDamaged(self._path, offset, f"entry {record.index} follows none")
                self.entries.append((record.payload, record.index, record.term))
            case Kind.CUT:
                if self.entries:
                    del self.entries[max(0, record.index - self.entries[0][1]) :]
            case Kind.BARRIER:
                after = barrier_of(record)
                before = self.barrier
                if before.sequence not in (0, after.sequence - 1) or after.term < before.term:
                    raise JournalDamaged(self._path, offset, f"batch {after.sequence} follows none")
                self.barrier = after


def _was_never_whole(data: bytes, wrong: NotARecord, *, batch_start: int) -> bool:
    """Say whether the wrong bytes look as an unsynced batch does after a power cut."""
    if wrong.end > len(data):
        return True
    for sector in range(wrong.start // SECTOR_BYTES * SECTOR_BYTES, wrong.end, SECTOR_BYTES):
        written = data[max(sector, batch_start) : sector + SECTOR_BYTES]
        if written and not any(written):
            return True
    return False


def _batches_follow(codec: Codec, data: bytes, offset: int, last: Barrier) -> bool:
    """Say whether there is a barrier that was written after the batch at `offset` had been synced."""
    mark = data.find(BARRIER_MARK, offset)
    while mark >= 0:
        try:
            record = codec.decode(data, mark - HEAD_BYTES)
        except NotARecord:
            pass  # a command may hold the same bytes
        else:
            if record.kind is Kind.BARRIER and barrier_of(record).sequence > last.sequence + 1:
                return True
        mark = data.find(BARRIER_MARK, mark + 1)
    return False

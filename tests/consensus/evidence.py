"""What is on a replica's disk for sure, whatever the replica believes: read from the synced bytes."""

from dataclasses import dataclass, field
from pathlib import Path

from hamgr.raft.store.records import (
    HEADER_BYTES,
    Codec,
    Kind,
    NotAHeader,
    NotARecord,
    barrier_of,
    decode_header,
)
from tests.hamgr.raft.bad_disk import LossyStorage


@dataclass(slots=True)
class OnDisk:
    """A journal as far as it was synced."""

    term: int = 0
    vote: str | None = None
    first: int = 1
    terms: list[int] = field(default_factory=list)
    """Of the entries from `first` on."""

    @property
    def last(self) -> int:
        return self.first + len(self.terms) - 1

    def term_at(self, index: int) -> int | None:
        return self.terms[index - self.first] if self.first <= index <= self.last else None


class JournalReader:
    """Reads one replica's journal, each byte once."""

    def __init__(self, storage: LossyStorage, path: Path) -> None:
        self._storage = storage
        self._path = path
        self.forget()

    def forget(self) -> None:
        """Begin anew: the file was cut or replaced."""
        self._header = b""
        self._offset = 0
        self._batch = []
        self._found = OnDisk()

    def read(self) -> OnDisk:
        """Return what would be left if power were lost now."""
        try:
            data = self._storage.synced_bytes(self._path)
        except FileNotFoundError:
            return OnDisk()
        if data[:HEADER_BYTES] != self._header or len(data) < self._offset:
            self.forget()
            self._header, self._offset = data[:HEADER_BYTES], HEADER_BYTES
        try:
            codec = Codec(decode_header(self._header))
            while self._offset < len(data):
                record = codec.decode(data, self._offset)
                self._offset = record.end
                self._batch.append(record)
                if record.kind is Kind.BARRIER:
                    self._take_over()
        except (NotAHeader, NotARecord):
            pass  # cut off here
        return self._found

    def _take_over(self) -> None:
        found = self._found
        for record in self._batch:
            match record.kind:
                case Kind.ENTRY:
                    if not found.terms:
                        found.first = record.index
                    found.terms.append(record.term)
                case Kind.CUT:
                    del found.terms[max(0, record.index - found.first) :]
                case Kind.BARRIER:
                    barrier = barrier_of(record)
                    found.term, found.vote = barrier.term, barrier.vote
        self._batch = []

"""Which configuration is in force: the latest in the log, committed or not, or else that of the snapshot."""

from collections.abc import Iterable

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration
from hamgr.raft.protocol.raft import Log, LogEntry

KIND = b"\x02"
"""The first byte of an entry that holds a configuration; the library's number for a change of membership."""


class Configurations:
    """The configurations of one replica's log, by index."""

    def __init__(self, base: Configuration, base_index: int) -> None:
        """Begin with what was in force at `base_index`, before any entry that is `appended`."""
        self._base = base
        self._base_index = base_index
        self._later: list[tuple[int, int, Configuration]] = []

    @property
    def current(self) -> Configuration:
        return self._later[-1][2] if self._later else self._base

    @property
    def index(self) -> int:
        """The entry that holds the current one, or the snapshot's."""
        return self._later[-1][0] if self._later else self._base_index

    def at(self, index: int) -> Configuration:
        """Return what was in force when `index` was the end of the log."""
        return next((found for at, _term, found in reversed(self._later) if at <= index), self._base)

    def appended(self, entries: Iterable[LogEntry]) -> bool:
        """Take note of new entries; True when one of them holds a configuration.

        Raises:
            membership.BadConfiguration: It is of a later version; who votes is not known any more.
        """
        before = self.index
        for command, index, term in entries:
            if command[:1] == KIND and index > self.index:
                self._later.append((index, term, membership.decode(command[1:])))
        return self.index != before

    def taken_back(self, log: Log) -> bool:
        """Forget those whose entries are not in `log` any more; True when there were any."""
        before = len(self._later)
        while self._later and not self._is_in(log, *self._later[-1][:2]):
            self._later.pop()
        return len(self._later) != before

    @staticmethod
    def _is_in(log: Log, index: int, term: int) -> bool:
        return index < log.first or log.term_at(index) == term

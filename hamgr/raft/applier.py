"""Keeps the state: applies what is committed, and says why it cannot when it cannot.

1. `state` is exchanged as a whole, by one thread; another sees the old or the new one.
2. A command of a later version is not answered and not skipped: the replicas that know it will obey it. This
   one stops there (`blocked`), and goes on when it is upgraded.
3. Bytes that no version wrote are answered `INTERNAL`, alike on every replica.
"""

import logging
import traceback
from collections import deque
from collections.abc import Callable, Container

from hamgr.raft.protocol.membership import ReplicaId
from statemachine import codec, machine
from statemachine.model import State
from statemachine.outcomes import Outcome

logger = logging.getLogger(__name__)


class Applier:
    """A core's machine.

    Attributes:
        index: Of the log; everything up to it is in `state`.
        version: Rises with every change of `state`.
        outcomes: Entries that somebody waits for, with their outcomes; whoever waits takes them out.
        blocked: Why nothing more can be applied; empty when it can.
    """

    def __init__(
        self,
        *,
        watched: Container[bytes],
        counted: Callable[[int, bytes, State], None],
        restored: Callable[[], None],
        take_digest: Callable[[ReplicaId, int, bytes], None],
    ) -> None:
        """Begin with an empty state.

        Args:
            watched: Entries whose outcomes somebody waits for.
            counted: Told index, entry and the state after it, of every entry of the log in order.
            restored: Told that a snapshot took the place of the state.
            take_digest: Gets what another replica's state hashes to.
        """
        self.state = State()
        self.index = 0
        self.version = 0
        self.blocked = ""
        self.outcomes: deque[tuple[bytes, Outcome]] = deque()
        self.take_digest = take_digest
        self._watched = watched
        self._counted = counted
        self._restored = restored

    def obey(self, index: int, entry: bytes) -> bool:
        """Apply a command; see `collaborators.Machine`."""
        state, outcome, bug = machine.apply_entry(self.state, entry)
        if isinstance(bug, codec.LaterVersion):
            self.blocked = (
                f"entry {index} was written by a later version of hamgr ({bug}); "
                "upgrade this replica, which applies nothing and must not lead until then"
            )
            self.version += 1
            return False
        if bug is not None:
            place = traceback.extract_tb(bug.__traceback__)[-1]
            logger.error(
                "entry %d could not be applied, and was answered so: %s in %s, line %s",
                index,
                type(bug).__name__,
                place.name,
                place.lineno,
            )
        self.state, self.index = state, index
        self.version += 1
        self._counted(index, entry, state)
        if entry in self._watched:
            self.outcomes.append((entry, outcome))
        return True

    def passed(self, index: int) -> None:
        """Note an entry that is no command."""
        self.index = index
        self._counted(index, b"", self.state)

    def restore(self, state: State, index: int) -> None:
        """Take a snapshot's state."""
        self.state, self.index, self.blocked = state, index, ""
        self.version += 1
        self._restored()

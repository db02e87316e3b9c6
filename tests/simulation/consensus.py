"""The shipped cluster in memory, with a log that doubts and somebody who watches every entry.

1. An answer can be lost, an entry can be dropped, refused, or come late, long after its proposer gave up.
2. Followers apply in their own time, and a leader of a moment ago may not have applied everything.
3. A restarted replica begins with a snapshot of the log's beginning, and applies the rest itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from hamgr.raft.memory import Fault, MemoryCluster, Verdict
from statemachine import codec
from statemachine.commands import Command
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Outcome

Observer = Callable[[bytes, State, Command, State, Outcome], None]
"""Told of an entry, the state before it, the command in it, the state after it, and the outcome."""


@dataclass(slots=True, kw_only=True)
class Doubt:
    """How bad the log is now: the share of proposals that each fault befalls."""

    answer_lost: float = 0.0
    dropped: float = 0.0
    refused: float = 0.0
    late: float = 0.0


class Consensus(MemoryCluster):
    """The replicas of one world.

    Attributes:
        states: The state after each entry, as whoever watches the log computes it.
    """

    def __init__(
        self, names: list[str], *, random: Random, count: Callable[[str], None], observe: Observer
    ) -> None:
        super().__init__(names, auto_elect=False)
        self._random = random
        self._count = count
        self._observe = observe
        self.doubt = Doubt()
        self.entries: list[bytes] = []
        self.states = [State()]
        self.fault = self._befall
        self.lag_s = self._lag_s

    @property
    def final(self) -> State:
        return self.states[-1]

    def up(self) -> list[str]:
        """Return the replicas that are alive, connected or not."""
        return [name for name in self.names() if self.replica(name).alive]

    def able(self) -> list[str]:
        """Return the replicas that could lead now."""
        return [name for name in self.up() if not self.replica(name).isolated] if self.has_quorum() else []

    def append(self, entry: bytes) -> None:
        command = codec.decode_command(entry)
        before = self.final
        after, outcome = apply(before, command)
        self.entries.append(entry)
        self.states.append(after)
        self._observe(entry, before, command, after, outcome)
        super().append(entry)

    def since(self, applied: int) -> tuple[State | None, list[bytes]]:
        if applied:
            return None, self.entries[applied:]
        snapshot = max(0, len(self.entries) - self._random.randint(0, 10))
        return self.states[snapshot], self.entries[snapshot:]

    def _lag_s(self, name: str) -> float:
        return 0.0 if name == self.leader else self._random.choice((0.001, 0.01, 0.1, 0.5))

    def _befall(self, _name: str, command: Command) -> Fault:
        roll, delay_s, doubt = self._random.random(), 0.002, self.doubt
        for kind, share, verdict in (
            ("log refused", doubt.refused, Verdict.REFUSE),
            ("log dropped", doubt.dropped, Verdict.DROP),
            ("log answer lost", doubt.answer_lost, Verdict.LOSE_ANSWER),
            ("log late", doubt.late, Verdict.DROP),
        ):
            if roll < share:
                self._count(kind)
                if kind == "log late":
                    self._come_late(codec.encode_command(command))
                return Fault(verdict=verdict, delay_s=self._random.uniform(0.0, 12.0))
            roll -= share
        return Fault(delay_s=delay_s)

    def _come_late(self, entry: bytes) -> None:
        def arrive() -> None:
            if self.leader:
                self.append(entry)

        asyncio.get_running_loop().call_later(self._random.uniform(0.0, 30.0), arrive)

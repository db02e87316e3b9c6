"""A log that several replicas share under virtual time, with every doubt that a real one leaves.

1. An entry is committed by a leader with a quorum, once, and applied by the replicas in their own time: a
   follower lags, and so does a leader that was elected a moment ago.
2. A deposed or isolated leader goes on believing until it hears of the new term. What it proposes then is
   lost, or committed late if the split ends first.
3. An answer can be lost, an entry can be dropped or come late; the proposer is told `OutcomeUnknown`.
4. All replicas hold the one `State` that the entry led to; that separate replicas would agree is checked at
   the end of a run, by replaying the bytes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hamgr.raft.port import Leadership, NoLeader, NotCommitted, OutcomeUnknown, Peer
from statemachine import codec
from statemachine.commands import Command
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Outcome

COMMIT_S = 0.002
POLL_S = 0.2

Observer = Callable[[State, Command, State, Outcome], None]


@dataclass(slots=True, kw_only=True)
class Doubt:
    """How bad the log is now: the share of proposals that each fault befalls."""

    answer_lost: float = 0.0
    dropped: float = 0.0
    refused: float = 0.0
    late: float = 0.0


class Consensus:
    """The replicas of one cluster and the log that they agree on."""

    def __init__(
        self, names: list[str], *, random: Random, count: Callable[[str], None], observe: Observer
    ) -> None:
        self.random = random
        self.count = count
        self.doubt = Doubt()
        self.entries: list[bytes] = []
        self.states = [State()]
        self.term = 0
        self.leader = ""
        self._observe = observe
        self.replicas = {name: SimReplica(name=name, cluster=self) for name in names}

    def quorum(self, name: str) -> bool:
        """Return whether `name` is connected to a majority, itself counted."""
        me = self.replicas[name]
        if not me.up or me.isolated:
            return False
        return 2 * sum(other.up and not other.isolated for other in self.replicas.values()) > len(
            self.replicas
        )

    def elect(self, name: str) -> bool:
        """Let `name` lead a new term, if it can; the others hear of it in their own time."""
        if not self.quorum(name):
            return False
        self.term += 1
        self.leader = name
        loop = asyncio.get_running_loop()
        self.replicas[name].hear()
        for replica in self.replicas.values():
            if replica.name != name:
                loop.call_later(self.random.uniform(0.0, 0.4), replica.hear)
        return True

    def crash(self, name: str) -> None:
        self.replicas[name].up = False
        if self.leader == name:
            self.leader = ""

    def restart(self, name: str) -> None:
        """Come back with what the disk has: a part of the log, and the rest soon."""
        replica = self.replicas[name]
        replica.up, replica.isolated = True, False
        replica.known = Leadership(term=self.term, leader="", leads=False)
        replica.applied = self.random.randint(0, len(self.entries))
        replica.wake()
        self.reconnect(name)

    def isolate(self, name: str) -> None:
        self.replicas[name].isolated = True

    def reconnect(self, name: str) -> None:
        replica = self.replicas[name]
        replica.isolated = False
        asyncio.get_running_loop().call_later(self.random.uniform(0.05, 1.0), replica.hear)

    def serves(self) -> bool:
        """Return whether an entry could be committed now."""
        return bool(self.leader) and self.quorum(self.leader)

    def commit(self, command: Command) -> int | None:
        """Append and apply an entry; return its index, None when nobody can commit now."""
        if not self.serves():
            return None
        entry = codec.encode_command(command)
        before = self.states[-1]
        after, outcome = apply(before, codec.decode_command(entry))
        self.entries.append(entry)
        self.states.append(after)
        self._observe(before, command, after, outcome)
        loop = asyncio.get_running_loop()
        for replica in self.replicas.values():
            if replica.name == self.leader:
                replica.catch_up()
            else:
                loop.call_later(self.random.choice((0.001, 0.01, 0.1)), replica.catch_up)
        return len(self.entries)


@dataclass(slots=True, kw_only=True, eq=False)
class SimReplica:
    """One replica; `hamgr.raft.port.Replica`."""

    name: str
    cluster: Consensus
    up: bool = True
    isolated: bool = False
    applied: int = 0
    version: int = 0
    known: Leadership = field(default_factory=lambda: Leadership(term=0, leader="", leads=False))
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.cluster.states[self.applied]

    @property
    def leadership(self) -> Leadership:
        return self.known

    @property
    def peers(self) -> tuple[Peer, ...]:
        others = [other for other in self.cluster.replicas.values() if other is not self]
        return tuple(Peer(name=other.name, api="", connected=other.up) for other in others)

    def hear(self) -> None:
        """Learn who leads, and what was committed meanwhile."""
        if self.up and not self.isolated:
            leader = self.cluster.leader
            self.known = Leadership(term=self.cluster.term, leader=leader, leads=leader == self.name)
            self.wake()
            asyncio.get_running_loop().call_later(self.cluster.random.uniform(0.0, 0.3), self.catch_up)

    def catch_up(self) -> None:
        if self.up and not self.isolated and self.applied < len(self.cluster.entries):
            self.applied = len(self.cluster.entries)
            self.wake()

    def wake(self) -> None:
        self.version += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self, version: int) -> int:
        while self.version == version:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self.version

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        roll, doubt, random = self.cluster.random.random(), self.cluster.doubt, self.cluster.random
        if roll < doubt.refused:
            self.cluster.count("log refused")
            await asyncio.sleep(COMMIT_S)
            raise NotCommitted("the queue is full")
        roll -= doubt.refused
        if roll < doubt.dropped:
            self.cluster.count("log dropped")
            await asyncio.sleep(random.uniform(0.0, timeout_s))
            raise OutcomeUnknown("nobody answered")
        roll -= doubt.dropped
        if roll < doubt.late:
            self.cluster.count("log late")
            loop.call_later(random.uniform(0.0, 3 * timeout_s), self.cluster.commit, command)
            await asyncio.sleep(random.uniform(0.0, timeout_s))
            raise OutcomeUnknown("nobody answered")
        roll -= doubt.late
        index = await self._committed(command, give_up_at)
        if roll < doubt.answer_lost:
            self.cluster.count("log answer lost")
            await asyncio.sleep(max(0.0, min(random.uniform(0.0, timeout_s), give_up_at - loop.time())))
            raise OutcomeUnknown("the answer was lost")
        while self.applied < index:
            if loop.time() >= give_up_at:
                raise OutcomeUnknown("it was committed, and this replica has not applied it yet")
            await asyncio.sleep(POLL_S)
        return self._answer(index, command)

    async def _committed(self, command: Command, give_up_at: float) -> int:
        """Hand the entry over, again and again until somebody takes it; return its index."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(COMMIT_S)
        while True:
            current = self.known.term == self.cluster.term
            if self.up and not self.isolated and (current or not self.known.leads):
                index = self.cluster.commit(command)
                if index is not None:
                    return index
            if loop.time() >= give_up_at:
                raise OutcomeUnknown("no leader with a quorum answered")
            await asyncio.sleep(POLL_S)

    def _answer(self, index: int, command: Command) -> Outcome:
        """Return what the entry at `index` was answered: what its request id is remembered with."""
        for generation in self.cluster.states[index].requests:
            if command.request_id in generation:
                return codec.decode_outcome(generation[command.request_id].outcome)
        raise AssertionError(f"{command.request_id} was not remembered")

    async def read(self, *, timeout_s: float) -> State:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        await asyncio.sleep(COMMIT_S)
        while not (self.cluster.quorum(self.name) and self.cluster.serves()):
            if loop.time() >= give_up_at:
                raise NoLeader("no leader with a quorum was found in time")
            await asyncio.sleep(POLL_S)
        self.catch_up()
        return self.state

    async def start(self) -> None:
        """Nothing: `Consensus.restart` is how it begins."""

    async def stop(self) -> None:
        self.cluster.crash(self.name)

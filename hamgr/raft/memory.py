"""A cluster inside one process: `MemoryCluster` and its `MemoryReplica`s, with faults on request.

1. The same contract as over a network (one test suite runs over both): what is acknowledged stays, a
   request id counts once, reads see what was acknowledged before them.
2. All on one event loop, without threads, sockets, clocks or randomness; time is only ever waited for on
   the loop, so that a loop with virtual time runs it as fast as it can.
3. A replica that is isolated keeps its belief about who leads; its proposals wait for `heal`, and may be
   committed long after their proposers were told `OutcomeUnknown`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hamgr.raft.figures import Figures, PeerFigures
from hamgr.raft.port import Leadership, NoLeader, NotCommitted, OutcomeUnknown, Peer
from hamgr.raft.proposals import Proposal, Proposals, entry_of
from hamgr.raft.waiting import Changes
from statemachine import machine
from statemachine.commands import Command
from statemachine.model import State
from statemachine.outcomes import Outcome

LOG_ENTRIES_MAX = 8_192
"""Beyond this the log is folded into a state, as a replica on disk does with a snapshot."""


class Verdict(StrEnum):
    COMMIT = "commit"
    LOSE_ANSWER = "lose-answer"
    """Committed, but the proposer gets `OutcomeUnknown`."""
    DROP = "drop"
    """Never committed; the proposer gets `OutcomeUnknown`."""
    REFUSE = "refuse"
    """Never committed; the proposer gets `NotCommitted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one proposal, after `delay_s`."""

    verdict: Verdict = Verdict.COMMIT
    delay_s: float = 0.0


NO_FAULT = Fault()
FaultHook = Callable[[str, Command], Fault]
"""Asked once for each proposal, with the name of the replica that it was made to."""


class MemoryCluster:
    """The log, who leads, and who is alive and connected.

    Attributes:
        fault: May be exchanged at any time.
        lag_s: How long after a commit the named replica applies it; asked for every commit.
        auto_elect: A majority without a leader elects one at once, the first by name that can lead.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        apis: Mapping[str, str] | None = None,
        auto_elect: bool = True,
    ) -> None:
        self.fault: FaultHook = lambda _name, _command: NO_FAULT
        self.lag_s: Callable[[str], float] = lambda _name: 0.0
        self.auto_elect = auto_elect
        self.apis = dict(apis or {})
        self.leader = ""
        self.term = 0
        self._log: list[bytes] = []
        self._base = State()
        self._base_length = 0
        self._replicas = {name: MemoryReplica(self, name) for name in sorted(names)}

    @property
    def length(self) -> int:
        """How many entries were ever committed."""
        return self._base_length + len(self._log)

    def replica(self, name: str) -> "MemoryReplica":
        return self._replicas[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._replicas)

    def elect(self, name: str) -> None:
        """Make `name` the leader, in a new term.

        Raises:
            ValueError: It is dead or isolated, or there is no majority to elect it.
        """
        if name not in self._connected() or not self.has_quorum():
            raise ValueError(f"{name} cannot be elected: it has no majority")
        self.leader, self.term = name, self.term + 1
        self._publish()

    def crash(self, name: str) -> None:
        """Kill a replica; its pending proposals end, and it applies nothing."""
        self._replicas[name].die()
        self._settle()

    def restart(self, name: str) -> None:
        """Bring a replica back, from an empty memory and the log."""
        self._replicas[name].live()
        self._settle()

    def isolate(self, name: str) -> None:
        """Cut a replica off from all others; it notices nothing."""
        self._replicas[name].isolated = True
        self._settle()

    def heal(self, name: str) -> None:
        """Undo `isolate`: the replica catches up, and what it had not got rid of is committed now."""
        self._replicas[name].isolated = False
        self._settle()

    def has_quorum(self) -> bool:
        return len(self._connected()) * 2 > len(self._replicas)

    def reaches_leader(self, name: str) -> bool:
        """Say whether what `name` proposes now will be committed now."""
        return bool(self.leader) and name in self._connected()

    def append(self, entry: bytes) -> None:
        """Commit `entry`."""
        self._log.append(entry)
        for name in self._connected():
            self._replicas[name].catch_up_after(self.lag_s(name))
        leader = self._replicas[self.leader]
        if len(self._log) > LOG_ENTRIES_MAX and leader.applied == self.length:
            self._base, self._base_length, self._log = leader.state, self.length, []

    def since(self, applied: int) -> tuple[State | None, list[bytes]]:
        """Return what leads from `applied` to now: perhaps a state to begin with, then entries."""
        if applied < self._base_length or not applied:
            return self._base, list(self._log)
        return None, self._log[applied - self._base_length :]

    def connected(self, one: str, other: str) -> bool:
        return {one, other} <= set(self._connected())

    def _connected(self) -> list[str]:
        return [name for name, replica in self._replicas.items() if replica.alive and not replica.isolated]

    def _settle(self) -> None:
        """Draw the consequences of a change of who is alive and connected."""
        if self.leader and (self.leader not in self._connected() or not self.has_quorum()):
            self.leader = ""
        if not self.leader and self.auto_elect and self.has_quorum():
            self.leader, self.term = self._connected()[0], self.term + 1
        self._publish()

    def _publish(self) -> None:
        for name in self._connected():
            self._replicas[name].learn(
                Leadership(term=self.term, leader=self.leader, leads=name == self.leader)
            )
        for name in self._connected():
            self._replicas[name].unload()


class MemoryReplica:
    """A `Replica` of a `MemoryCluster`; `start` and `stop` are `restart` and `crash` of the cluster."""

    def __init__(self, cluster: MemoryCluster, name: str) -> None:
        """Made by the cluster."""
        self.name = name
        self.state = State()
        self.leadership = Leadership(term=0, leader="", leads=False)
        self.applied = 0
        self.alive = False
        self.isolated = False
        self._cluster = cluster
        self._changes = Changes()
        self._proposals = Proposals()
        self._stranded: list[bytes] = []

    @property
    def version(self) -> int:
        return self._changes.version

    @property
    def peers(self) -> tuple[Peer, ...]:
        cluster = self._cluster
        return tuple(
            Peer(name=name, api=cluster.apis.get(name, ""), connected=cluster.connected(self.name, name))
            for name in cluster.names()
            if name != self.name
        )

    @property
    def staleness_s(self) -> float | None:
        """0 while everything committed is here; without a clock nothing else is known."""
        up_to_date = self._cluster.reaches_leader(self.name) and self.applied == self._cluster.length
        return 0.0 if up_to_date else None

    @property
    def figures(self) -> Figures:
        return Figures(
            term=self.leadership.term,
            leader=self.leadership.leader,
            leads=self.leadership.leads,
            voters=self._cluster.names(),
            commit_index=self.applied if self.isolated else self._cluster.length,
            applied_index=self.applied,
            staleness_s=self.staleness_s,
            peers={peer.name: PeerFigures(connected=peer.connected) for peer in self.peers},
        )

    async def start(self) -> None:
        """Join the cluster; leads at once where that makes a majority."""
        self._cluster.restart(self.name)

    async def stop(self) -> None:
        """Leave the cluster; pending proposals end in `OutcomeUnknown`."""
        if self.alive:
            self._cluster.crash(self.name)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Commit `command`; see `Replica.propose`."""
        return await self._propose(
            entry_of(command), self._cluster.fault(self.name, command), timeout_s=timeout_s
        )

    async def propose_entry(self, entry: bytes, *, timeout_s: float) -> Outcome:
        """Commit the bytes of a command, without faults."""
        return await self._propose(entry, NO_FAULT, timeout_s=timeout_s)

    async def read(self, *, timeout_s: float) -> State:
        """Return a state that holds all that was acknowledged; see `Replica.read`."""
        cluster = self._cluster
        try:
            async with asyncio.timeout(timeout_s):
                while self.alive and not cluster.reaches_leader(self.name):
                    await self._changes.after(self.version)
                needed = cluster.length
                while self.alive and self.applied < needed:
                    await self._changes.after(self.version)
        except TimeoutError:
            raise NoLeader(f"no leader confirmed the read within {timeout_s:g} s; try again") from None
        if not self.alive:
            raise NoLeader("the replica is stopped")
        return self.state

    async def changed(self, version: int) -> int:
        """Wait until `version` is no longer current; return the new one."""
        return await self._changes.after(version)

    async def _propose(self, entry: bytes, fault: Fault, *, timeout_s: float) -> Outcome:
        proposal = self._proposals.open(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(fault.delay_s)
                await self._take(proposal, fault.verdict)
                return await proposal.outcome
        except TimeoutError:
            raise proposal.unanswered(f"no answer within {timeout_s:g} s") from None
        finally:
            self._proposals.close(proposal)

    async def _take(self, proposal: Proposal, verdict: Verdict) -> None:
        while self.alive and not self.leadership.leader:
            await self._changes.after(self.version)
        if not self.alive:
            raise proposal.unanswered("the replica is stopped")
        if verdict is Verdict.REFUSE:
            raise NotCommitted("the leader did not take the command; try again")
        proposal.submissions = 1
        if verdict is not Verdict.DROP:
            self._submit(proposal.entry)
        if verdict is not Verdict.COMMIT:
            raise OutcomeUnknown("the answer was lost; send the command again with the same request id")

    def _submit(self, entry: bytes) -> None:
        if self._cluster.reaches_leader(self.name):
            self._cluster.append(entry)
        else:
            self._stranded.append(entry)

    # Called by the cluster.

    def live(self) -> None:
        if not self.alive:
            self.alive, self.applied, self.state = True, 0, State()

    def die(self) -> None:
        self.alive = False
        self._stranded.clear()
        self.leadership = Leadership(term=self.leadership.term, leader="", leads=False)
        self._changes.raise_to(self.version + 1)
        self._proposals.give_up("the replica is stopped")

    def learn(self, leadership: Leadership) -> None:
        """Take note of who leads, and catch up with the log if connected."""
        if leadership != self.leadership:
            self.leadership = leadership
            self._changes.raise_to(self.version + 1)
        self.catch_up_after(0.0)

    def unload(self) -> None:
        """Commit what could not be sent while this replica was cut off."""
        if self._cluster.reaches_leader(self.name):
            stranded, self._stranded = self._stranded, []
            for entry in stranded:
                self._cluster.append(entry)

    def catch_up_after(self, lag_s: float) -> None:
        if lag_s > 0:
            asyncio.get_running_loop().call_later(lag_s, self._catch_up)
        else:
            self._catch_up()

    def _catch_up(self) -> None:
        if not self.alive or self.isolated:
            return
        base, entries = self._cluster.since(self.applied)
        if base is not None:
            self.state = base
        for entry in entries:
            self.state, outcome, _bug = machine.apply_entry(self.state, entry)
            if entry in self._proposals:
                self._proposals.settle(entry, outcome)
        if self.applied != self._cluster.length:
            self.applied = self._cluster.length
            self._changes.raise_to(self.version + 1)

"""Stores on this replica what attempts printed: the leader reads the nodes, the others ask whoever has it.

1. What is owed comes from the `Ledger` alone, so that there is no other path for recovery: a new leader, a
   replica that was away and one whose disk lost something all do the same.
2. It is low work: at most `nodes_at_once` nodes are read at a time, a node is called only when it owes
   something, and one that does not answer is left alone until the state says something new of it, after
   `RETRIES_S`.
3. Whatever goes wrong here stops neither the replica nor a job; the figures and one line of the log say so.
4. Before a leader fences a node whose runner might then discard an output that is owed, it is read
   (`rescue`), within `RESCUE_S`.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from backends.ports import AttemptKey, BackendError, CommandFailed, NodeExecutor
from hamgr.jobs.worker import host_of
from hamgr.logs import records
from hamgr.logs.figures import LogFigures
from hamgr.logs.guarded import RecentOutputs
from hamgr.logs.ledger import Ledger
from hamgr.logs.pieces import Attempt, Kept, shorten
from hamgr.logs.shelf import Shelf
from hamgr.logs.sources import ASKED_MAX, PeerLogs, StillRunning, read_from_node
from hamgr.raft.port import Replica
from statemachine.model import Node, State
from statemachine.nodes import takeover
from statemachine.words import JobId, NodeName

log = logging.getLogger(__name__)

PASS_PAUSE_S = 0.5
"""The least time between two looks at the state: what ended meanwhile is stored together."""
RETRIES_S = (2.0, 10.0, 60.0)
"""When a node that could not be read is tried again; then only when the state says something new of it."""
PEER_RETRY_S_MAX = 10.0
"""Less than `FAILURE_PAUSE_S`: a leader whose disk fails has an output in memory for about that long."""
RUNNER_JOBS_KEPT = 8
"""How many other jobs' outputs a node keeps when a job fences it (`backends/runner/node/5-control.sh`)."""
RESCUE_S = 5.0
NODES_AT_ONCE = 4


@dataclass(slots=True)
class _Parked:
    """A node that could not be read: how often, when it is tried again, and what the state said of it."""

    times: int
    retry_at: float
    node: Node | None


class LogKeeper:
    """Keeps this replica's logs; `run` for as long as the replica lives."""

    def __init__(
        self,
        *,
        replica: Replica,
        executor: NodeExecutor,
        shelf: Shelf,
        peers: PeerLogs,
        recent: RecentOutputs,
        attempt_bytes_max: int,
        nodes_at_once: int = NODES_AT_ONCE,
    ) -> None:
        self._replica = replica
        self._executor = executor
        self._shelf = shelf
        self._peers = peers
        self._recent = recent
        self._attempt_bytes_max = attempt_bytes_max
        self._nodes_at_once = nodes_at_once
        self._ledger = Ledger(shelf.settled)
        self._at_work: dict[NodeName, asyncio.Task[None]] = {}
        self._parked: dict[NodeName, _Parked] = {}
        self._nudge = asyncio.Event()
        self._term = 0
        self._peers_at = 0.0
        self._peers_pause_s = PASS_PAUSE_S

    @property
    def figures(self) -> LogFigures:
        return LogFigures(
            stored_bytes=self._shelf.stored_bytes,
            owed_attempts=self._ledger.count,
            damaged=self._shelf.damaged,
            failing=bool(self._shelf.failure),
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._shelf.open(self._now())
        async with asyncio.TaskGroup() as group:
            while True:
                version = self._replica.version
                try:
                    await self._pass(group)
                except Exception:
                    log.exception("a look at the logs that are owed failed; it will be tried again")
                await self._rest(version)

    async def _pass(self, group: asyncio.TaskGroup) -> None:
        state = self._replica.state
        found: list[Attempt] = []
        for _ in self._ledger.look(state, found):
            await asyncio.sleep(0)
        self._shelf.forget(state)
        if found:
            self._peers_at, self._peers_pause_s = 0.0, PASS_PAUSE_S
        leadership = self._replica.leadership
        if not leadership.leads:
            if await self._flush():
                await self._ask_peers()
            return
        if leadership.term != self._term:  # the leader before us may have stored it on other replicas
            self._peers_at = 0.0
            await self._ask_peers()
            self._term = leadership.term
        await self._take_recent(found)
        tried_until = self._shelf.retry_at
        await self._flush()
        if self._shelf.full and self._shelf.retry_at > tried_until:
            self._shed()
        if not self._shelf.full:  # also while the disk fails: the other replicas get it from our memory
            self._dispatch(group, state)

    def _shed(self) -> None:
        """Make room in memory, and put what was forgotten behind what nobody has read yet."""
        for attempt in self._shelf.shed():
            self._ledger.settle(attempt)
            self._ledger.owe(attempt)

    async def _take_recent(self, found: Sequence[Attempt]) -> None:
        """Keep what came back with the attempts themselves; no node is called for that."""
        for attempt in found:
            output = self._recent.take(attempt.node, _key(attempt))
            if output is not None:
                await self._add(shorten(attempt, output, bytes_max=self._attempt_bytes_max))

    def _dispatch(self, group: asyncio.TaskGroup, state: State) -> None:
        for name in tuple(self._ledger.owed):
            if len(self._at_work) >= self._nodes_at_once:
                return
            if name in self._at_work or self._rests(state, name):
                continue
            if all(map(self._shelf.settled, self._ledger.owed[name])):
                continue  # it was read, and waits to be written
            self._at_work[name] = group.create_task(self._supervise(name))

    def _rests(self, state: State, name: NodeName) -> bool:
        parked = self._parked.get(name)
        if parked is None or self._now() >= parked.retry_at:
            return False
        if state.nodes.get(name) is not parked.node:
            del self._parked[name]
            return False
        return True

    async def _supervise(self, name: NodeName) -> None:
        try:
            if await self._read_node(name):
                self._parked.pop(name, None)
            else:
                self._park(name)
        except Exception:
            log.exception("reading what %s printed failed; it will be tried again", name)
            self._park(name)
        finally:
            del self._at_work[name]
            self._nudge.set()

    def _park(self, name: NodeName) -> None:
        times = self._parked[name].times if name in self._parked else 0
        pause_s = RETRIES_S[times] if times < len(RETRIES_S) else float("inf")
        self._parked[name] = _Parked(times + 1, self._now() + pause_s, self._replica.state.nodes.get(name))

    async def _read_node(self, name: NodeName) -> bool:
        """Read what a node owes; False when something is left that has to wait."""
        left = False
        for attempt in tuple(self._ledger.owed.get(name, ())):
            if self._shelf.settled(attempt):
                continue
            try:
                await self._add(await self._read(name, attempt))
            except CommandFailed as error:
                left = not await self._without_node(attempt, error) or left
            except (BackendError, StillRunning):
                left = True
                break
        await self._flush()
        return not left

    async def _read(self, name: NodeName, attempt: Attempt) -> Kept:
        state = self._replica.state
        job = state.jobs.get(JobId(attempt.job.removeprefix(f"{state.cluster}-")))
        node = takeover.whereabouts(state, job, name)
        if node is None:
            raise CommandFailed(name, "was forgotten")
        return await read_from_node(self._executor, host_of(node), attempt, bytes_max=self._attempt_bytes_max)

    async def _without_node(self, attempt: Attempt, error: CommandFailed) -> bool:
        """Get an output elsewhere that its node has not; after the last try, keep why there is none."""
        found = await self._peers.fetch([attempt])
        if found:
            self._shelf.add(found)
            return True
        parked = self._parked.get(NodeName(attempt.node))
        if parked is None or parked.times < len(RETRIES_S):
            return False
        await self._add(Kept(attempt=attempt, head=b"", size=0, note=str(error)))
        return True

    async def _ask_peers(self) -> None:
        """Take over what other replicas have, as long as that brings something."""
        while self._ledger.owed and self._now() >= self._peers_at:
            owed = [attempt for node in self._ledger.owed.values() for attempt in node]
            brought = 0
            for at in range(0, len(owed), ASKED_MAX):
                found = await self._peers.fetch(owed[at : at + ASKED_MAX])
                brought += len(found)
                self._shelf.add(found)
                if not await self._flush():
                    return
            if brought:
                self._peers_pause_s = PASS_PAUSE_S
            else:
                self._peers_at = self._now() + self._peers_pause_s
                self._peers_pause_s = min(2 * self._peers_pause_s, PEER_RETRY_S_MAX)

    async def _add(self, kept: Kept) -> None:
        if self._shelf.add({kept.attempt: await asyncio.to_thread(records.encode, kept)}):
            await self._flush()

    async def _flush(self) -> bool:
        """Have what was added on the disk; False when it could not be."""
        for attempt in await self._shelf.flush(self._now()):
            self._ledger.settle(attempt)
        return self._shelf.usable(self._now())

    async def _rest(self, version: int) -> None:
        """Sleep until the state changed, a node was read or something is to be tried again; then rest."""
        waits = [parked.retry_at for name, parked in self._parked.items() if name in self._ledger.owed]
        if self._ledger.owed:
            waits += [self._shelf.retry_at] if self._shelf.failure else []
            waits += [self._peers_at] if not self._replica.leadership.leads else []
        changed = asyncio.ensure_future(self._replica.changed(version))
        nudged = asyncio.ensure_future(self._nudge.wait())
        timeout_s = max(min(waits, default=float("inf")) - self._now(), 0.0)
        try:
            await asyncio.wait(
                {changed, nudged},
                timeout=None if timeout_s == float("inf") else timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._nudge.clear()
            changed.cancel()
            nudged.cancel()
            await asyncio.gather(changed, nudged, return_exceptions=True)
        await asyncio.sleep(PASS_PAUSE_S)

    async def find(self, attempt: Attempt) -> Kept | None:
        """Return what is kept of an output here, else on another replica; None when nobody has it."""
        kept = await self._shelf.get(attempt)
        if kept is None and not self._shelf.settled(attempt):
            self._wanted_again(attempt)
            found = await self._peers.fetch([attempt])
            if attempt in found:
                kept = await asyncio.to_thread(records.decode, found[attempt])
        return kept

    def _wanted_again(self, attempt: Attempt) -> None:
        if attempt not in self._ledger.owed.get(NodeName(attempt.node), {}):
            self._ledger.owe(attempt)
            self._nudge.set()

    async def stored(self, wanted: Sequence[Attempt]) -> bytes:
        """Return the records that this replica has of `wanted`, one after the other, for another replica."""
        return await self._shelf.records(wanted)

    async def rescue(self, name: NodeName) -> None:
        """Read and store what the next fence of a node could make its runner discard."""
        owed = self._ledger.owed.get(name)
        if not owed or self._shelf.failure or not self._endangered(name, owed):
            return
        try:
            async with asyncio.timeout(RESCUE_S):
                await self._read_node(name)
        except TimeoutError:
            log.warning("%s keeps outputs that could not be read in time; its runner may discard them", name)

    def _endangered(self, name: NodeName, owed: dict[Attempt, None]) -> bool:
        state = self._replica.state
        jobs = [job_id for job_id, job in state.jobs.items() if name in job.tasks]
        oldest = {attempt.job.removeprefix(f"{state.cluster}-") for attempt in owed}
        return any(JobId(job) in oldest for job in jobs[:-RUNNER_JOBS_KEPT])

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _key(attempt: Attempt) -> AttemptKey:
    return AttemptKey(job=attempt.job, step=attempt.step, attempt=attempt.number)

"""The leader's watch over all nodes: rounds of probes, and the verdicts that follow, in the log.

1. It runs on every replica and works only while that replica leads; each term begins without a memory.
2. Before a verdict is proposed, the leader proves that it leads (a linearizable read), and it proposes it
   once: what has not come through is judged again. So a leader that is cut off tells nobody anything.
3. A replica that gave no word is not asked for `AWAY_S`; its nodes are probed by the others meanwhile.
4. A node that comes back is asked who it is with its pinned key. Another machine there is told as such.
"""

import asyncio
import logging
from collections.abc import Iterable

from backends.ports import BackendError, NodeExecutor, Refused
from hamgr.clock import Clock
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import host_of
from hamgr.presence.judge import Judge, Rules, Subject, Verdict
from hamgr.presence.subjects import replicas_at, subjects_of
from hamgr.presence.vantages import Answers, Vantages
from hamgr.raft.port import ConsensusError, Membership, Replica
from statemachine.outcomes import Accepted
from statemachine.presence_commands import PresenceChange, ReportPresences
from statemachine.words import NodeName

AWAY_S = 10.0
PROOF_TIMEOUT_S = 2.0
PROPOSE_TIMEOUT_S = 5.0
IDENTITY_TIMEOUT_S = 10.0
RETURNING_MAX = 16
"""Nodes that are asked at once who they are."""
REST_S = 0.5
"""Between two looks whether this replica leads, and between two rounds at least half of that."""

log = logging.getLogger(__name__)


class Watcher:
    """Watches the nodes while this replica leads."""

    def __init__(
        self,
        *,
        replica: Replica,
        members: Membership,
        proposer: Proposer,
        executor: NodeExecutor,
        vantages: Vantages,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._replica = replica
        self._members = members
        self._proposer = proposer
        self._executor = executor
        self._vantages = vantages
        self._clock = clock
        self._rules = rules
        self._judge = Judge(rules)
        self._term = -1
        self._away: dict[str, float] = {}
        self._returning: dict[NodeName, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                leadership = self._replica.leadership
                if not leadership.leads:
                    self._term = -1  # who leads on in the same term has not watched meanwhile
                elif leadership.term != self._term:
                    self._begin(leadership.term)
                began_s = self._now()
                if leadership.leads:
                    try:
                        await self._round()
                    except Exception:  # a bug in judging must not end the watch
                        log.exception("a round of probes failed; the next one begins soon")
                rest_s = self._rules.recheck_s - (self._now() - began_s)
                await asyncio.sleep(max(rest_s, REST_S / 2) if leadership.leads else REST_S)
        finally:
            self._forget()

    def _begin(self, term: int) -> None:
        self._forget()
        self._judge, self._term = Judge(self._rules), term
        self._away.clear()

    def _forget(self) -> None:
        for task in self._returning.values():
            task.cancel()
        self._returning.clear()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _subjects(self) -> dict[NodeName, Subject]:
        at = replicas_at(self._members.configuration.members, self._replica.peers)
        return subjects_of(self._replica.state, self._clock.now(), at)

    async def _round(self) -> None:
        """Ask, judge, tell."""
        peers = self._replica.peers
        up = [peer.name for peer in peers if peer.connected]
        near = [name for name in up if self._away.get(name, 0.0) <= self._now()]
        asked = self._judge.asks(self._now(), self._subjects(), [self._replica.name, *near], alone=not up)
        answers: dict[str, dict[NodeName, str]] = {}
        probed: dict[str, list[NodeName]] = {}
        told = await asyncio.gather(*(self._ask(name, nodes) for name, nodes in asked.items()))
        for name, answer in zip(asked, told, strict=True):
            if answer is None:
                self._away[name] = self._now() + AWAY_S
            else:
                probed[name], answers[name] = answer
        now, moved = self._now(), self._judge.moved(self._subjects())
        probed = {name: [one for one in nodes if one not in moved] for name, nodes in probed.items()}
        self._judge.take(now, probed, answers)
        self._welcome(now)
        await self._tell(self._judge.verdicts(now))

    async def _ask(self, name: str, nodes: list[NodeName]) -> Answers | None:
        vantage = self._vantages.of(name)
        return None if vantage is None else await vantage.probe(nodes)

    async def _tell(self, verdicts: Iterable[Verdict]) -> None:
        """Propose what has changed, once, if this replica really leads."""
        verdicts = list(verdicts)
        if not verdicts:
            return
        changes = tuple(
            PresenceChange(node=one.node, was=one.was, presence=one.presence, reason=one.reason)
            for one in verdicts
        )
        try:
            await self._replica.read(timeout_s=PROOF_TIMEOUT_S)
            leadership = self._replica.leadership
            if not leadership.leads or leadership.term != self._term:
                return  # the read waited until somebody else led: what we saw alone is not theirs to tell
            command = self._proposer.make(ReportPresences, changes=changes)
            outcome = await self._replica.propose(command, timeout_s=PROPOSE_TIMEOUT_S)
        except ConsensusError as error:
            log.info("the presence of %d nodes could not be told: %s", len(changes), error)
            return
        if isinstance(outcome, Accepted):
            self._judge.told(self._now(), verdicts)

    def _welcome(self, now: float) -> None:
        """Ask those that are back who they are, a few at once."""
        for name, task in list(self._returning.items()):
            if task.done():
                del self._returning[name]
        for name in self._judge.returning(now):
            if name not in self._returning and len(self._returning) < RETURNING_MAX:
                self._returning[name] = asyncio.create_task(self._identify(name))

    async def _identify(self, name: NodeName) -> None:
        node = self._replica.state.nodes.get(name)
        if node is None:
            return
        judge = self._judge
        why = ""
        try:
            report = await self._executor.probe(host_of(node), timeout_s=IDENTITY_TIMEOUT_S)
            if report.machine_id != node.machine_id:
                why = f"another machine answers at {node.endpoint}: its machine id is not that of {name}"
        except Refused as error:
            why = f"what answers at {node.endpoint} is not {name} or lets nobody in: {error.message}"
        except BackendError:
            judge.postpone(self._now(), name)  # its machine is up, but nobody can log in there yet
            return
        if not why:
            judge.confirm(name)
        elif denied := judge.deny(self._now(), name, why):
            await self._tell([denied])

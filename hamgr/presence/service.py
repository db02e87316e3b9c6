"""Presence of one replica, put together: what it probes with, and the watch that it keeps while it leads."""

import ssl
from collections.abc import Sequence

from backends.ports import NodeExecutor
from hamgr.clock import Clock
from hamgr.jobs.proposer import Proposer
from hamgr.presence.judge import Rules
from hamgr.presence.prober import Prober
from hamgr.presence.settings import PresenceSection
from hamgr.presence.vantages import Answers, ReplicaVantages
from hamgr.presence.watcher import Watcher
from hamgr.raft.port import Membership, Replica
from statemachine.words import NodeName


class PresenceService:
    """Probes for whoever asks, and watches the nodes while this replica leads."""

    def __init__(
        self,
        settings: PresenceSection,
        *,
        replica: Replica,
        members: Membership,
        proposer: Proposer,
        executor: NodeExecutor,
        clock: Clock,
        token: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare.

        Args:
            token, tls: For calls to other replicas; without `tls` by plain HTTP, on loopback.
        """
        self._settings = settings
        self._prober = prober = Prober(
            timeout_s=settings.timeout_s,
            at_once=settings.probes_at_once,
            per_s_max=settings.probes_per_s_max,
        )
        self._vantages = ReplicaVantages(replica=replica, prober=prober, token=token, tls=tls)
        self._watcher = Watcher(
            replica=replica,
            members=members,
            proposer=proposer,
            executor=executor,
            vantages=self._vantages,
            clock=clock,
            rules=Rules(interval_s=settings.interval_s, asked_max=settings.probes_per_s_max),
        )

    async def probe(self, nodes: Sequence[NodeName]) -> Answers:
        """Probe nodes from here, for another replica; answers which it knows, and which were silent."""
        return await self._vantages.here.probe(nodes)

    async def run(self) -> None:
        """Run until cancelled."""
        if not self._settings.enabled:
            return
        try:
            await self._watcher.run()
        finally:
            self._prober.close()
            await self._vantages.close()

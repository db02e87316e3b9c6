"""Upgrades of hamgr on one replica: its own part when it has its turn, and the turns while it leads.

1. It looks at the state and at the guard's progress, does one thing, and sleeps; a replica that was started
   a moment ago, or leads since then, does the same as the one before would have done.
2. It never waits for the guard: what the guard says is reported when it is there.
"""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from backends.blobs import BlobError
from hamgr.clock import Clock
from hamgr.jobs.proposer import NotInCharge, Proposer
from hamgr.raft.port import LAG_ENTRIES_MAX, ConsensusError, Membership, Replica
from hamgr.raft.protocol.membership import ChangeRefused
from hamgr.upgrade import releases
from hamgr.upgrade.coordinator import Give, HandOver, Stop, View, Wait, decide
from hamgr.upgrade.orders import Desk, Order
from hamgr.upgrade.restarting import Restarting
from hamgr.upgrade.settings import UpgradeSection
from statemachine.upgrade_commands import GiveUpgradeTurn, ReportUpgrade, StopUpgrade
from statemachine.upgrading import AT_WORK, Turn, Upgrade, UpgradePhase, UpgradeState
from statemachine.words import Digest

POLL_S = 0.3
REPORT_S_MAX = 10.0
TRANSFER_S_MAX = 8.0
GUARD_AGAIN_S = 5.0
"""A guard that has not begun for so long, or was killed, is started again."""

log = logging.getLogger(__name__)


class Archives(Protocol):
    """Where the wheels' bytes come from."""

    async def fetch(self, digest: Digest) -> bytes: ...


class UpgradeService:
    """One replica's part in upgrades of hamgr."""

    def __init__(
        self,
        settings: UpgradeSection,
        *,
        replica: Replica,
        members: Membership,
        proposer: Proposer,
        archives: Archives,
        restarting: Restarting,
        clock: Clock,
        data_dir: Path,
        config: Path,
        version: str,
    ) -> None:
        self._settings, self._replica, self._members = settings, replica, members
        self._proposer, self._archives, self._restarting = proposer, archives, restarting
        self._clock, self._config, self._version = clock, config.absolute(), version
        self._data_dir = data_dir.absolute()
        self._desk = Desk(self._data_dir)
        self._releases = releases.here()
        self._release = "" if self._releases is None else Path(sys.prefix).resolve().name
        self._well_since: dict[str, float] = {}
        self._guard_seen = 0.0
        self.waits = ""
        """Why this leader gives nobody a turn; empty when it does, or does not lead."""

    def about(self) -> dict[str, Any]:
        """Return what this replica runs, and what keeps it from running another release; blocks."""
        found = self._releases
        if found is None:
            trouble = (
                "it was not installed as a release (ROOT/releases/NAME, with the link ROOT/current), "
                "so it cannot replace itself; install it with `hamgr replica add`"
            )
        else:
            trouble = self._restarting.trouble()
        return {
            "version": self._version,
            "release": self._release,
            "process": os.getpid(),
            "room_bytes": 0 if found is None else max(0, found.free_bytes() - self._settings.reserve_bytes),
            "trouble": trouble,
        }

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            version = self._replica.version
            upgrade = self._replica.state.upgrade
            active = upgrade is not None and (upgrade.state is UpgradeState.RUNNING or upgrade.at_work)
            if upgrade is not None and active:
                await self._advance(upgrade)
                await asyncio.sleep(POLL_S)
            else:
                self.waits = ""
                await self._replica.changed(version)

    async def _advance(self, upgrade: Upgrade) -> None:
        try:
            turn = upgrade.replicas.get(self._replica.name)
            if turn is not None and turn.phase in AT_WORK:
                await self._own_part(upgrade, turn)
            if self._replica.leadership.leads:
                await self._lead(upgrade)
            else:
                self.waits = ""
                self._well_since.clear()
        except (ConsensusError, ChangeRefused, NotInCharge) as error:
            log.info("the upgrade is looked at again: %s", error)  # whoever leads then sees what came of it
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("the upgrade cannot go on here now: %s", error)

    async def _own_part(self, upgrade: Upgrade, turn: Turn) -> None:
        order_id = f"{upgrade.id}.{turn.tries}"
        progress = await asyncio.to_thread(self._desk.progress)
        if progress is not None and progress.order == order_id and progress.phase is not turn.phase:
            await self._report(upgrade, progress.phase, progress.sentence)
            return
        if progress is None or progress.order != order_id:
            order = await asyncio.to_thread(self._desk.order)
            if order is None or order.id != order_id:
                await self._order(upgrade, order_id)
        await self._see_to_the_guard()

    async def _order(self, upgrade: Upgrade, order_id: str) -> None:
        """Have everything ready for the guard."""
        name, found = self._replica.name, self._releases
        about = await asyncio.to_thread(self.about)
        if about["trouble"] or found is None:
            await self._report(upgrade, UpgradePhase.FAILED, f"{name}: {about['trouble']}")
            return
        try:
            paths = []
            for wheel in upgrade.wheels:
                data = await self._archives.fetch(wheel.digest)
                stem = f"{wheel.name}-{wheel.digest.removeprefix('sha256:')[:16]}"
                paths.append(str(await asyncio.to_thread(self._desk.put_wheel, stem, data)))
            order = Order(
                id=order_id,
                name=name,
                root=str(found.root),
                release=release_of(upgrade),
                before=self._release,
                config=str(self._config),
                wheels=paths,
            )
            await asyncio.to_thread(self._desk.put_order, order)
        except (BlobError, OSError) as error:
            await self._report(
                upgrade, UpgradePhase.FAILED, f"{name} runs {self._release} as before: {error}"
            )

    async def _see_to_the_guard(self) -> None:
        """Start the guard, and start it again when it was killed."""
        now = asyncio.get_running_loop().time()
        if now - self._guard_seen < GUARD_AGAIN_S and self._guard_seen:
            return
        self._guard_seen = now
        if await asyncio.to_thread(self._desk.order) is None:
            return
        words = [sys.executable, "-m", "hamgr.commands", "guard-upgrade", str(self._data_dir)]
        # A second guard sees the lock of the first, and ends.
        await asyncio.to_thread(self._restarting.start_guard, words)

    async def _report(self, upgrade: Upgrade, phase: UpgradePhase, sentence: str) -> None:
        command = self._proposer.make(
            ReportUpgrade, upgrade=upgrade.id, replica=self._replica.name, phase=phase, sentence=sentence
        )
        await self._replica.propose(command, timeout_s=REPORT_S_MAX)

    async def _lead(self, upgrade: Upgrade) -> None:
        decision = decide(upgrade, self._view())
        self.waits = decision.why if isinstance(decision, Wait) else ""
        match decision:
            case Give():
                command = self._proposer.make(GiveUpgradeTurn, upgrade=upgrade.id, replica=decision.replica)
                await self._proposer.settle(command)
            case Stop():
                stop = self._proposer.make(
                    StopUpgrade, upgrade=upgrade.id, reason=decision.why, given_up=decision.given_up
                )
                await self._proposer.settle(stop)
            case HandOver():
                heir = next(one for one in self._members.configuration.voters if one.name == decision.to)
                log.info("%s leads from now on, so that %s can be upgraded", heir.name, self._replica.name)
                await self._members.transfer(heir.id, timeout_s=TRANSFER_S_MAX)
            case Wait():
                pass

    def _view(self) -> View:
        configuration = self._members.configuration
        now = asyncio.get_running_loop().time()
        names = [member.name for member in configuration.members]
        for name in names:
            if self._is_well(name):
                self._well_since.setdefault(name, now)
            else:
                self._well_since.pop(name, None)
        stable_s = self._settings.stable_s
        return View(
            me=self._replica.name,
            voters={voter.name for voter in configuration.voters},
            members=set(names),
            well={name for name in names if now - self._well_since.get(name, now + 1) >= stable_s},
            settled=self._members.settled,
            now=self._clock.now(),
            turn_s_max=self._settings.turn_s_max,
        )

    def _is_well(self, name: str) -> bool:
        if name == self._replica.name:
            return True
        found = self._replica.figures.peers.get(name)
        lag = None if found is None else found.lag_entries
        return found is not None and found.connected and lag is not None and lag <= LAG_ENTRIES_MAX


def release_of(upgrade: Upgrade) -> str:
    """Return the name of the release that an upgrade leads to."""
    return releases.name_of(upgrade.version, [wheel.digest for wheel in upgrade.wheels])


def view_of(upgrade: Upgrade | None, waits: str = "") -> Mapping[str, Any]:
    """Return an upgrade as JSON."""
    if upgrade is None:
        return {"upgrade": None}
    turns: Sequence[tuple[str, Turn]] = tuple(upgrade.replicas.items())
    return {
        "upgrade": {
            "id": upgrade.id,
            "version": upgrade.version,
            "release": release_of(upgrade),
            "state": upgrade.state,
            "why": upgrade.why,
            "waits": waits,
            "at": upgrade.at,
            "actor": upgrade.actor,
            "replicas": [
                {"name": name, "phase": turn.phase, "sentence": turn.sentence, "at": turn.at or None}
                for name, turn in turns
            ],
            "wheels": [
                {"name": wheel.name, "version": wheel.version, "digest": wheel.digest}
                for wheel in upgrade.wheels
            ],
        }
    }

"""The autopilot of each host: the product's rules, with probes that may err and hands that may be late.

What a probe says is drawn, so that safety can rest on no probe: most of the time it says what is so.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hamgr.autopilot import rules
from hamgr.autopilot.record import Record
from hamgr.autopilot.rules import Action, Change, Pace, Seen, View
from hamgr.raft.core.shrinking import PROBES_MIN, Evidence, RollCall
from hamgr.raft.protocol.membership import ChangeRefused, ReplicaId
from tests.consensus.fences import Fences
from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.network import Network
from tests.consensus.schedule import Schedule
from tests.consensus.trail import Trail

LOOK_EVERY_S = 0.1
PACE = Pace(dead_s=0.8, stable_s=0.5)
LATE_S_MAX = 0.3
ERRS = 0.2
"""How often a probe says the contrary of what is so."""


class Autopilots:
    """One for each host; they live as long as the replicas there."""

    def __init__(
        self,
        seed: str,
        hosts: Sequence[Host],
        network: Network,
        schedule: Schedule,
        figures: Figures,
        trail: Trail,
        *,
        target: int,
        fences: Fences,
    ) -> None:
        self._random = Random(f"{seed}/autopilots")
        self._hosts, self._network, self._schedule = hosts, network, schedule
        self._figures, self._trail = figures, trail
        self._records: dict[tuple[str, int], Record] = {}
        self._stopped = False
        self._target = target
        self._fences = fences
        self.errs = ERRS

    def begin(self) -> None:
        for host in self._hosts:
            self._schedule.after(self._random.uniform(0.0, LOOK_EVERY_S), self._look_at, host)

    def stop(self) -> None:
        self._stopped = True

    def is_content(self, leader: Host) -> bool:
        """Say whether as many vote as should."""
        core = leader.core
        if core is None:
            return False
        now = core.configuration
        return len(now.voters) >= rules.wanted(self._target, len(now.members))

    def _look_at(self, host: Host) -> None:
        if self._stopped:
            return
        if host.alive:
            host.call(self._look)
        self._schedule.after(LOOK_EVERY_S, self._look_at, host)

    def _look(self, host: Host, core: Any, _machine: Any) -> None:
        core.pair.can_fence = core.pair.ready = self._fences.there
        roll = core.shrinking.roll_call()
        if roll is None:
            self._watch(host, core)
            return
        record = self._records.setdefault((host.name, host.life), Record())
        record.note(roll)
        change = rules.decide(self._view(host, roll, record))
        if change is not None:
            late_s = self._random.choice((0.0, 0.0, self._random.uniform(0.0, LATE_S_MAX)))
            self._schedule.after(late_s, self._act, host, host.life, change, roll)

    def _view(self, host: Host, roll: RollCall, record: Record) -> View:
        by_id = {one.id: one for one in self._hosts}
        voters = roll.configuration.voter_ids
        return View(
            me=roll.me,
            leads=roll.leads,
            settled=roll.settled,
            target=self._target,
            pace=PACE,
            armed=roll.configuration.armed,
            armable=roll.armable,
            replicas=tuple(
                Seen(
                    id=member.id,
                    name=member.name,
                    voter=member.id in voters,
                    alive=member.id in roll.alive,
                    silent_s=roll.silent_s.get(member.id, 0.0),
                    failed=self._probe(host, by_id[member.id], roll),
                    well_s=record.well_s(member.id, roll.at),
                    falls=record.falls(member.id, roll.at),
                )
                for member in roll.configuration.members
            ),
        )

    def _probe(self, host: Host, target: Host, roll: RollCall) -> tuple[str, ...]:
        return self._probed(host, target) if roll.silent_s.get(target.id, 0.0) >= PACE.dead_s else ()

    def _probed(self, host: Host, target: Host) -> tuple[str, ...]:
        lives = target.alive and target.frozen_until <= self._schedule.now
        helpers = [
            one
            for one in self._hosts
            if one.alive and one is not target and one is not host and self._reach(host, one)
        ]
        here = lives and self._reach(host, target)
        there = lives and any(self._reach(one, target) for one in helpers)
        told = {"from here": here, "from another one": there}
        return tuple(name for name, so in told.items() if so == (self._random.random() < self.errs))

    def _reach(self, one: Host, other: Host) -> bool:
        ways = (one.id, other.id), (other.id, one.id)
        return not any(self._network.link(*way).blocked for way in ways)

    def _act(self, host: Host, life: int, change: Change, roll: RollCall) -> None:
        if host.life == life and host.alive:
            host.call(lambda _host, core, _machine: self._do(host, core, change, roll))

    def _do(self, host: Host, core: Any, change: Change, roll: RollCall) -> None:
        self._trail.note(host.name, "autopilot:", change.action, change.name, change.reason)
        if change.action is Action.LET_GO:
            evidence = _evidence(change.replica, roll.at)
            self._let_go(host, core, change, evidence)
            if core.configuration.armed:
                self._fences.fence(host, change.replica, self._let_go, change, replace(evidence, fenced=True))
            return
        now = core.configuration
        try:
            match change.action:
                case Action.PROMOTE:
                    after = now.promoted(change.replica)
                case Action.DEMOTE:
                    after = now.demoted(change.replica)
                case other:
                    after = now.with_fencing(other is Action.ARM)
        except ChangeRefused as refusal:
            self._answered(host, change, str(refusal))
            return
        core.change(after, lambda refused: self._answered(host, change, refused))

    def _let_go(self, host: Host, core: Any, change: Change, evidence: Evidence) -> None:
        led = core.leads
        refused = core.shrinking.let_go(evidence)
        self._answered(host, change, refused)
        if not refused:
            self._figures.count("led on without a majority", not led)
            self._figures.count("fenced: the leader goes on", evidence.fenced)
            self._records[(host.name, host.life)].fell(change.replica, core.now())

    def _watch(self, host: Host, core: Any) -> None:
        """Have the follower of two fence its leader, when that is dead."""
        watch = core.pair.watch()
        if watch is None or watch.refusal or watch.silent_s < PACE.dead_s:
            return
        target = next(one for one in self._hosts if one.id == watch.leader.id)
        if len(self._probed(host, target)) == PROBES_MIN:
            self._fences.fence(host, target.id, self._take_over, _evidence(target.id, watch.at, fenced=True))

    def _take_over(self, host: Host, core: Any, evidence: Evidence) -> None:
        refused = core.pair.take_over(evidence)
        self._trail.note(host.name, "takes over:", refused or "done")
        self._figures.count("fenced: refused" if refused else "fenced: the follower goes on")

    def _answered(self, host: Host, change: Change, refused: str) -> None:
        self._trail.note(host.name, change.action, change.name, refused or "done")
        self._figures.count("autopilot refused" if refused else f"autopilot: {change.action}")


def _evidence(target: ReplicaId, begun_at: float, *, fenced: bool = False) -> Evidence:
    return Evidence(
        target=target,
        failed=("from here", "from another one"),
        begun_at=begun_at,
        silent_s_min=PACE.dead_s,
        fenced=fenced,
    )

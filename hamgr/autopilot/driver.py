"""Sees to the voters while this replica leads, or may lead on: look, probe, decide, act, tell.

1. It runs on every replica, and does nothing on one that neither leads nor may lead on.
2. Probes are begun after the silence that they are to explain, and what they tell is used at once or never.
3. One change is begun at a time. What was refused, or is not known to have gone well, is not repeated: the
   next look finds how things are.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from hamgr.autopilot import rules
from hamgr.autopilot.record import FELL, Record
from hamgr.autopilot.rules import Action, Change, Pace, Seen, View
from hamgr.clock import Clock
from hamgr.fencing.port import Fence
from hamgr.jobs.proposer import Proposer
from hamgr.raft.core.pair import Watch
from hamgr.raft.core.shrinking import PROBES_MIN, Evidence, RollCall
from hamgr.raft.port import ConsensusError, Replica
from hamgr.raft.protocol.membership import ChangeRefused, Member, ReplicaId
from statemachine.cluster_commands import ReportReplica
from statemachine.electorate import Electorate, ReplicaWish

LOOK_S_MAX = 0.5
LOOKS_MIN = 8
"""How often it is looked at least within the time after which somebody is dead."""
ANSWER_S = 2.0
CHANGE_S = 5.0
TELL_S = 5.0
KINDS = {
    Action.PROMOTE: "promoted",
    Action.DEMOTE: "demoted",
    Action.LET_GO: FELL,
    Action.ARM: "fencing-armed",
    Action.DISARM: "fencing-disarmed",
}
"""Of the events that tell of it."""
SAID = {
    Action.PROMOTE: ("promote {}", "{} is promoted"),
    Action.DEMOTE: ("demote {}", "{} is demoted"),
    Action.LET_GO: ("take the vote of {}", "{} lost its vote"),
    Action.ARM: ("arm fencing with {}", "fencing is armed with {}"),
    Action.DISARM: ("disarm fencing with {}", "fencing is disarmed with {}"),
}
"""What is to be done, and what is done, to the replica of that name."""
FENCE_AGAIN_S = 10.0
"""From a fencing that went wrong to the next one."""

log = logging.getLogger(__name__)


class Hands(Protocol):
    """What can be done about members; see `hamgr.raft.members`."""

    async def roll_call(self, *, timeout_s: float) -> RollCall | None: ...
    async def let_go(self, evidence: Evidence, *, timeout_s: float) -> None: ...
    async def promote(self, replica: ReplicaId, *, timeout_s: float) -> None: ...
    async def demote(self, replica: ReplicaId, *, timeout_s: float) -> None: ...
    async def arm(self, armed: bool, *, timeout_s: float) -> None: ...
    async def watch(self, *, timeout_s: float) -> Watch | None: ...
    async def take_over(self, evidence: Evidence, *, timeout_s: float) -> None: ...


class Probes(Protocol):
    """Looks whether a silent replica answers otherwise."""

    async def failed(self, member: Member) -> Sequence[str]:
        """Return, in words, which probes failed."""

    async def close(self) -> None:
        """Hang up."""


class Autopilot:
    """Keeps the wished number of voters.

    Attributes:
        view: What was seen last; None on a replica that neither leads nor may lead on.
    """

    def __init__(
        self,
        *,
        pace: Pace,
        replica: Replica,
        members: Hands,
        probes: Probes,
        proposer: Proposer,
        clock: Clock,
        fence: Fence | None = None,
    ) -> None:
        """Prepare; without `fence` two voters are never armed."""
        self.view: View | None = None
        self._fence = fence
        self._fenced_at = float("-inf")
        self._pace = pace
        self._replica = replica
        self._members = members
        self._probes = probes
        self._proposer = proposer
        self._clock = clock
        self._record = Record()
        self._said = ""

    @property
    def dead_s(self) -> float:
        """After such a silence a voter may be let go."""
        return self._pace.dead_s

    def reasons(self) -> Mapping[str, str]:
        """Return in words why replicas are what they are, and what they wait for, by name."""
        view = self.view
        return {} if view is None else {one.name: rules.standing(view, one) for one in view.replicas}

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except ConsensusError as error:
                    log.info("the members could not be looked at: %s", error)
                except Exception:
                    log.exception("a look at the voters failed; the next one begins soon")
                await asyncio.sleep(min(LOOK_S_MAX, self._pace.dead_s / LOOKS_MIN))
        finally:
            await self._probes.close()

    async def look(self) -> None:
        """Look once, and do what is due.

        Raises:
            ConsensusError: The members could not be asked for.
        """
        leadership = self._replica.leadership
        roll = None
        if leadership.leads or not leadership.leader:
            roll = await self._members.roll_call(timeout_s=ANSWER_S)
        if roll is None:
            self.view = None
            if self._fence is not None and not leadership.leads:
                await self._watch(self._fence)
            return
        state = self._replica.state
        self._record.note(roll)
        self._record.recall(roll, state.events, self._now())
        self._record.forget(roll.configuration.ids)
        upgraded = "" if state.upgrade is None else state.upgrade.at_work
        view = view_of(
            roll, self._record, state.electorate, pace=self._pace, now=self._now(), upgraded=upgraded
        )
        self.view = view = await self._probed(view, roll)
        change = rules.decide(view)
        if change is not None:
            await self._act(change, view, roll)

    def _now(self) -> float:
        return self._clock.now()

    async def _probed(self, view: View, roll: RollCall) -> View:
        """Return the view with what probes of the silent ones say."""
        names = {one.id: roll.configuration.member(one.id) for one in rules.suspects(view)}
        members = [member for member in names.values() if member is not None]
        if not members:
            return view
        said = await asyncio.gather(*(self._probes.failed(member) for member in members))
        failed = {member.id: tuple(words) for member, words in zip(members, said, strict=True)}
        replicas = tuple(replace(one, failed=failed.get(one.id, ())) for one in view.replicas)
        return replace(view, replicas=replicas)

    async def _act(self, change: Change, view: View, roll: RollCall) -> None:
        try:
            match change.action:
                case Action.PROMOTE:
                    await self._members.promote(change.replica, timeout_s=CHANGE_S)
                case Action.DEMOTE:
                    await self._members.demote(change.replica, timeout_s=CHANGE_S)
                case Action.ARM | Action.DISARM:
                    await self._members.arm(change.action is Action.ARM, timeout_s=CHANGE_S)
                case Action.LET_GO:
                    member = roll.configuration.member(change.replica)
                    fenced = ""
                    if roll.configuration.armed and member is not None:
                        fenced = await self._switched_off(self._fence, member)
                        if not fenced:
                            return
                        change = replace(change, reason=f"{change.reason}; {fenced}")
                    target = next(one for one in view.replicas if one.id == change.replica)
                    evidence = Evidence(
                        target=target.id,
                        failed=target.failed,
                        begun_at=roll.at,
                        silent_s_min=self._pace.dead_s,
                        planned=target.resting,
                        fenced=bool(fenced),
                    )
                    await self._members.let_go(evidence, timeout_s=CHANGE_S)
                    self._record.fell(change.replica, roll.at)
        except (ChangeRefused, ConsensusError) as error:
            self._say(f"could not {SAID[change.action][0].format(change.name)}: {error}")
            return
        self._say(self._sentence(change))
        await self._tell(change)

    @staticmethod
    def _sentence(change: Change) -> str:
        return f"{SAID[change.action][1].format(change.name)}: {change.reason}"

    async def _watch(self, fence: Fence) -> None:
        """Go on without the leader of two, when it is dead, fenced, and all rules of `pair` allow it."""
        watch = await self._members.watch(timeout_s=ANSWER_S)
        if watch is None or watch.silent_s < self._pace.dead_s:
            return
        name, wish = watch.leader.name, self._replica.state.electorate.replicas.get(watch.leader.name)
        failed = tuple(await self._probes.failed(watch.leader))
        if watch.refusal:
            self._say(f"{name} is silent, and this replica waits for it: {watch.refusal}")
            return
        if len(set(failed)) < PROBES_MIN or (wish is not None and wish.rest_until > self._now()):
            return
        fenced = await self._switched_off(fence, watch.leader)
        if not fenced:
            return
        evidence = Evidence(
            target=watch.leader.id,
            failed=failed,
            begun_at=watch.at,
            silent_s_min=self._pace.dead_s,
            fenced=True,
        )
        try:
            await self._members.take_over(evidence, timeout_s=CHANGE_S)
        except ChangeRefused as error:
            self._say(f"{name} was switched off, and this replica does not go on without it: {error}")
            return
        reason = f"silent for {watch.silent_s:.0f} s, {'; '.join(failed)}; {fenced}"
        change = Change(action=Action.LET_GO, replica=watch.leader.id, name=name, reason=reason)
        self._record.fell(watch.leader.id, watch.at)
        self._say(self._sentence(change))
        await self._tell(change)

    async def _switched_off(self, fence: Fence | None, member: Member) -> str:
        """Have a member switched off; return what the command said, empty unless that is verified."""
        now = time.monotonic()
        if now - self._fenced_at < FENCE_AGAIN_S:
            return ""
        if fence is None:
            self._say(f"{member.name} keeps its vote: fencing is armed, and this replica has no command")
            return ""
        verdict = await fence.off(member)
        if not verdict.ok:
            self._fenced_at = time.monotonic()
            self._say(f"{member.name} is not verified to be off, and keeps its vote: {verdict.words}")
            return ""
        log.warning("autopilot: %s is switched off: %s", member.name, verdict.words)
        return verdict.words

    async def _tell(self, change: Change) -> None:
        """Have watchers hear of a change; it is made, whether or not they do."""
        message = self._sentence(change)
        command = self._proposer.make(
            ReportReplica, name=change.name, kind=KINDS[change.action], message=message
        )
        try:
            await self._replica.propose(command, timeout_s=TELL_S)
        except ConsensusError as error:
            log.info("nobody could be told that %s: %s", message, error)

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("autopilot: %s", sentence)


def view_of(
    roll: RollCall, record: Record, electorate: Electorate, *, pace: Pace, now: float, upgraded: str = ""
) -> View:
    """Return what the rules look at.

    Args:
        now: Unix seconds, for planned absences.
        upgraded: The replica that takes a new release of hamgr; its absence is planned, too.
    """
    voters = roll.configuration.voter_ids
    wishes: Mapping[str, ReplicaWish] = electorate.replicas
    seen = []
    for member in roll.configuration.members:
        wish = wishes.get(member.name, ReplicaWish())
        seen.append(
            Seen(
                id=member.id,
                name=member.name,
                voter=member.id in voters,
                alive=member.id in roll.alive,
                silent_s=roll.silent_s.get(member.id, 0.0),
                domain=wish.domain,
                resting=wish.rest_until > now or member.name == upgraded,
                kept=wish.standby,
                well_s=record.well_s(member.id, roll.at),
                falls=record.falls(member.id, roll.at),
            )
        )
    return View(
        me=roll.me,
        leads=roll.leads,
        settled=roll.settled,
        target=electorate.target,
        replicas=tuple(seen),
        pace=pace,
        armed=roll.configuration.armed,
        armable=roll.armable,
    )

"""How a leader lets a dead voter go, so that further losses are survived: the rules, at the last moment.

Making a voter a learner is a change by one voter, safe as all of them are (Ongaro's dissertation, section 4).
What is checked here, when the change is appended and not before, keeps it from doing harm in other ways:

1. An entry of our own term is committed and no change is in flight.
2. The voter was silent for as long as is asked, counted while we were awake, and then failed two probes more.
3. The voters that live are a majority of the *new* electorate: or else the change could not be committed, and
   we would wait for that majority although the old one might come back.
4. Who led and lost its majority leads on for this, in the same term, as long as it knows of no later one.
   Nobody else was ever elected in that term, and a leader steps down only to spare others a wait (see
   `docs/decisions/0018`). It is how the leader's half of an even electorate goes on.
5. Of two voters for which fencing is armed, one is let go only when it is verified to be off, and nothing was
   heard of it since before its fencing began: if it is on again, it may be about to go on without us.
"""

from dataclasses import dataclass
from typing import Protocol

from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol.membership import Configuration, ReplicaId

PROBES_MIN = 2
PROBED_S_MAX = 10.0
"""What was found out longer ago says nothing about now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a voter is believed to be dead.

    Attributes:
        failed: What was tried besides waiting for its messages, each in words; no two alike.
        begun_at: When the first of that was begun, by the clock of consensus.
        silent_s_min: For how long it must have been silent before that.
        planned: An operator said that it would be away; then it stays a voter.
        fenced: It is verified to be off; the command that switched it off began after `begun_at`.
    """

    target: ReplicaId
    failed: tuple[str, ...]
    begun_at: float
    silent_s_min: float
    planned: bool = False
    fenced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollCall:
    """Who is here, as a leader sees it, or one that may lead on.

    Attributes:
        at: By the clock of consensus.
        leads: False: it has lost its majority, and could lead on in `term` if the electorate were smaller.
        settled: A change of the members may be begun.
        silent_s: Of each other member, while we were awake.
        alive: The members that answer, ourselves included.
        lag: Entries that each follower lacks; None when nothing is known.
        armable: Fencing could be armed for the two voters now.
    """

    at: float
    me: ReplicaId
    term: int
    leads: bool
    settled: bool
    configuration: Configuration
    silent_s: dict[ReplicaId, float]
    alive: frozenset[ReplicaId]
    lag: dict[ReplicaId, int | None]
    armable: bool = False


class Pair(Protocol):
    def armable(self) -> bool:
        """Say whether fencing could be armed for the two voters now."""


class Core(Whole, Protocol):
    @property
    def pair(self) -> Pair: ...


class Shrinking:
    """What one replica knows of the others' silence, and what it does about it."""

    def __init__(self, core: Core, quorum_lost_s: float) -> None:
        self._core = core
        self._quorum_lost_s = quorum_lost_s
        self._heard: dict[ReplicaId, float] = {}
        self._led_in = -1
        self._looked_at = core.now()

    def heard(self, peer: ReplicaId) -> None:
        """Note a sign of life."""
        self._heard[peer] = self._core.now()

    def elected(self) -> None:
        """Note that we lead: how silent followers were to each other means nothing."""
        core = self._core
        if core.term != self._led_in:
            self._led_in = core.term
            self._heard = dict.fromkeys(self._heard, core.now())

    def advance(self) -> None:
        """Count nothing that we have slept through as others' silence."""
        now = self._core.now()
        slept_s = now - self._looked_at
        self._looked_at = now
        if slept_s > self._quorum_lost_s:
            self._heard = {peer: min(at + slept_s, now) for peer, at in self._heard.items()}

    @property
    def may_lead_on(self) -> bool:
        """We led in the present term, lost the majority, and know of no later leader."""
        core = self._core
        return (
            not core.leads
            and core.leader is None
            and core.term == self._led_in
            and not core.renounced
            and core.me in core.configuration.voter_ids
        )

    def roll_call(self) -> RollCall | None:
        """Return who is here; None when we neither lead nor may lead on."""
        core = self._core
        if not (core.leads or self.may_lead_on):
            return None
        self.advance()
        others = core.configuration.ids - {core.me}
        return RollCall(
            at=core.now(),
            me=core.me,
            term=core.term,
            leads=core.leads,
            settled=not self._unsettled(),
            configuration=core.configuration,
            silent_s={peer: self.silent_s(peer) for peer in others},
            alive=self._alive(),
            lag={peer: core.lag(peer) for peer in others},
            armable=core.pair.armable(),
        )

    def refusal(self, evidence: Evidence) -> str:
        """Say why the voter must stay one; empty when it may be let go now."""
        core, target = self._core, evidence.target
        self.advance()
        if not (core.leads or self.may_lead_on):
            return "this replica does not lead; ask the leader"
        member = core.configuration.member(target)
        if member is None or member not in core.configuration.voters or target == core.me:
            return f"replica {target} is no other voter; see `hamgr replica ls`"
        return (
            self._unsettled()
            or self.not_dead(evidence, member.name)
            or self._unfenced(evidence, member.name)
            or self._without_majority(member.name)
        )

    def let_go(self, evidence: Evidence) -> str:
        """Make a dead voter a learner, if all rules allow it now; return why not, or an empty text.

        The change is in the log then, and not yet committed.
        """
        core = self._core
        refused = self.refusal(evidence)
        if refused:
            return refused
        leads_on = not core.leads
        if leads_on:
            core.counters["led_on"] += 1
            core.election.heard(core.now())  # takes back a leave to stand that came a moment ago
            core.library.lead_on()
        said: list[str] = []
        after = core.configuration.demoted(evidence.target)
        core.change(after, said.append, fenced=evidence.fenced)
        if said and leads_on:
            core.library.step_down()  # without the change we have no more majority than before
        return said[0] if said else ""

    def silent_s(self, peer: ReplicaId) -> float:
        """Return for how long nothing was heard of `peer`, counted while we were awake."""
        return self._core.now() - self._heard.setdefault(peer, self._core.now())

    def _unsettled(self) -> str:
        core = self._core
        if core.log.term_at(core.commit) != core.term:
            return "the leader was elected a moment ago; try again"
        if core.configuration_index > core.commit:
            return "another change of the members is under way; try again when it is done"
        return ""

    def not_dead(self, evidence: Evidence, name: str) -> str:
        """Say why `name` may live; empty when it is dead, by all that is known here."""
        silent_s = self.silent_s(evidence.target)
        probed_s = self._core.now() - evidence.begun_at
        if evidence.planned:
            return f"{name} is away as planned; it stays a voter"
        silent_then_s_min = evidence.silent_s_min if evidence.fenced else 0.0
        if silent_s < evidence.silent_s_min or silent_s - probed_s < silent_then_s_min:
            return f"{name} was heard of {silent_s:.1f} s ago; it stays a voter"
        if len(set(evidence.failed)) < PROBES_MIN or (probed_s > PROBED_S_MAX and not evidence.fenced):
            return f"{name} is silent, but did not fail {PROBES_MIN} probes lately; it stays a voter"
        return ""

    def _unfenced(self, evidence: Evidence, name: str) -> str:
        if not self._core.configuration.armed or evidence.fenced:
            return ""
        return f"fencing is armed, and {name} is not verified to be off; it stays a voter"

    def _without_majority(self, name: str) -> str:
        core = self._core
        after = [voter for voter in core.configuration.voters if voter.name != name]
        alive = [voter.name for voter in after if voter.id in self._alive()]
        if len(alive) > len(after) // 2:
            return ""
        return (
            f"without {name}, {len(alive)} of {len(after)} voters would live, and that is no majority; "
            "start one of the others"
        )

    def _alive(self) -> frozenset[ReplicaId]:
        core, now = self._core, self._core.now()
        if core.leads:
            answered = {
                peer
                for peer, progress in core.replicator.followers.items()
                if now - progress.heard_of < self._quorum_lost_s
            }
        else:  # who looks for a leader says so every election time-out
            answered = {
                peer
                for peer, at in self._heard.items()
                if core.is_up(peer) and now - at < 2 * self._quorum_lost_s
            }
        return frozenset({core.me, *answered} & core.configuration.ids)

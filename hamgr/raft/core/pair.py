"""How the follower of two goes on without its leader, which it has fenced: the rules, at the last moment.

`docs/decisions/0018` has a counterexample for each of them. `shrinking` has the leader's side.

1. Fencing is armed in the latest configuration of our log, and we know that to be committed. So nothing was
   acknowledged that we lack, unless the leader has fenced us before.
2. The leader has told this very process, in this term, which entry holds its own configuration, and we know
   all up to there to be committed. The number that we drew when we started stands for the process: a leader
   that fences us tells its configuration to the process that comes after us, and that one has to have it.
3. The leader was silent for as long as is asked, failed two probes, is verified to be off, and nothing was
   heard of it since before its fencing began.
4. Then we begin the next term by our own vote, with the configuration that leaves the old leader without
   one as its first entry. Both are on the disk before anything is sent. If we die before, nothing has
   happened; after it, we alone can lead.
"""

import random
from dataclasses import dataclass
from typing import Protocol

from hamgr.raft.core.shrinking import Evidence, Shrinking
from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.protocol.messages import Message

TELL_S = 0.5
"""How often a follower that can fence says so."""
TOLD_S_MAX = 5.0
"""What a follower said before says nothing about now."""
GRACE_S = 10.0
"""For so long after an election, or a missing word, two that are armed are believed to stay able."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The leader of two, as its follower sees it.

    Attributes:
        at: By the clock of consensus.
        leader: The other voter.
        refusal: Why we could not go on without it, were it dead and fenced; empty when we could.
    """

    at: float
    term: int
    leader: Member
    silent_s: float
    refusal: str


class Core(Whole, Protocol):
    @property
    def shrinking(self) -> Shrinking: ...


class Pair:
    """What one of two voters knows of the other one, and does when it has fenced it.

    Attributes:
        can_fence: This replica has a fencing command. Without one it says nothing, and never goes on alone.
        ready: The command has passed its last test.
    """

    def __init__(self, core: Core, randomness: random.Random) -> None:
        self.can_fence = False
        self.ready = False
        self._core = core
        self._randomness = randomness
        self._number = 0
        self._followed: tuple[int, int] = (-1, 0)
        self._told_at = float("-inf")
        self._told: tuple[int, int, bool] = (-1, -1, False)
        self._heard: dict[ReplicaId, tuple[float, int, bool]] = {}
        self._able: tuple[float, int] = (float("-inf"), -1)

    def advance(self) -> None:
        """Tell the leader, from time to time, that we can fence it."""
        core = self._core
        if not self.can_fence or core.leads or core.leader is None or not core.is_up(core.leader):
            return
        now, told = core.now(), (core.term, core.configuration_index, self.ready)
        if told == self._told and now - self._told_at < TELL_S:
            return
        self._told, self._told_at = told, now
        if not self._number:
            self._number = self._randomness.getrandbits(48) + 1
        term, index, ready = told
        message = {"type": "following", "term": term, "number": self._number, "index": index, "ready": ready}
        core.send(core.leader, message)

    # The leader's side.

    def take_following(self, sender: ReplicaId, message: Message) -> None:
        """Note that a follower can fence, and answer it with where our configuration is; we lead."""
        core = self._core
        self._heard[sender] = core.now(), message["term"], message["ready"]
        index = core.configuration_index
        answer = {"type": "followed", "term": core.term, "number": message["number"], "index": index}
        core.send(sender, answer)

    def able(self) -> frozenset[ReplicaId]:
        """Return the followers that said lately that they know of fencing."""
        return self._said(ready_only=False)

    def armable(self) -> bool:
        """Say whether both voters can fence each other, and nobody is connected that would not obey.

        A replica of an earlier version cannot read that fencing is armed, and stops. Where it is armed
        already, the answer is no only after `GRACE_S`.
        """
        core = self._core
        able = self._armable_now()
        if able or self._able[1] != core.term:
            self._able = core.now(), core.term
        return able or (core.configuration.armed and core.now() - self._able[0] < GRACE_S)

    def _armable_now(self) -> bool:
        core = self._core
        configuration = core.configuration
        others = configuration.voter_ids - {core.me}
        connected = frozenset(peer for peer in configuration.ids if core.is_up(peer))
        return (
            core.leads
            and self.can_fence
            and self.ready
            and len(configuration.voters) == membership.PAIR
            and others <= self._said(ready_only=True)
            and connected - {core.me} <= self.able()
        )

    def _said(self, *, ready_only: bool) -> frozenset[ReplicaId]:
        core = self._core
        return frozenset(
            peer
            for peer, (at, term, ready) in self._heard.items()
            if core.now() - at < TOLD_S_MAX and term == core.term and (ready or not ready_only)
        )

    # The follower's side.

    def take_followed(self, sender: ReplicaId, message: Message) -> None:
        """Note which entry holds the leader's own configuration, if it says so to this process."""
        core = self._core
        if message["term"] == core.term and sender == core.leader and message["number"] == self._number:
            self._followed = message["term"], message["index"]

    def watch(self) -> Watch | None:
        """Return what there is to say about the leader; None when we are not the follower of two."""
        core = self._core
        configuration = core.configuration
        if core.leads or core.shrinking.may_lead_on or core.me not in configuration.voter_ids:
            return None
        others = [voter for voter in configuration.voters if voter.id != core.me]
        if len(others) != 1 or not self.can_fence:
            return None
        core.shrinking.advance()
        return Watch(
            at=core.now(),
            term=core.term,
            leader=others[0],
            silent_s=core.shrinking.silent_s(others[0].id),
            refusal=self._unknowing(),
        )

    def take_over(self, evidence: Evidence) -> str:
        """Go on without the leader, if all rules allow it now; return why not, or an empty text.

        We lead then; the term, the vote and the configuration are on the disk.

        Raises:
            DiskFailed: The replica must stop; whether it goes on alone shows when it is started again.
        """
        core = self._core
        watch = self.watch()
        if watch is None:
            return "this replica is not the follower of two voters"
        name = watch.leader.name
        if watch.leader.id != evidence.target or not evidence.fenced:
            return f"{name} is not verified to be off; it leads on"
        refused = watch.refusal or core.shrinking.not_dead(evidence, name)
        if refused:
            return refused
        command = KIND + membership.encode(core.configuration.demoted(evidence.target))
        index = core.library.lead_next(command)
        core.configurations.appended([(command, index, core.term)])
        core.counters["took_over"] += 1
        core.log.sync()
        core.adopt_configuration()
        return ""

    def _unknowing(self) -> str:
        """Say why we cannot know that we have all that was acknowledged; empty when we do."""
        core = self._core
        if core.renounced:
            return f"this replica must not lead: {core.renounced}"
        if not core.configuration.armed:
            return "fencing is not armed for the two voters"
        if core.configuration_index > core.commit:
            return "it is not known whether fencing is armed: the last change of the members is under way"
        term, index = self._followed
        if term != core.term or index > core.commit:
            return (
                "this replica has not followed its leader since it started, and cannot know what it lacks; "
                "start the other one, or see `hamgrd recover`"
            )
        return ""

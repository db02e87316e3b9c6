"""What to change about the voters now, if anything: one pure function of what is seen.

1. One change at a time, and none while one is under way.
2. A voter that was silent for `dead_s` and failed two probes is made a standby, if the voters that live are
   a majority of the electorate without it. Planned absence is no death.
3. A standby gets a vote when it lives, has nearly all of the log, was both for `stable_s` without a break,
   and the voters are too few. The more often it fell lately, the longer it has to wait.
4. Odd electorates are preferred: a fourth voter makes commits dearer and survives no further loss. Two are
   better than one, since both have every acknowledged write.
5. Voters are spread over failure domains: who comes first is from the least crowded one, and a voter of a
   crowded domain makes way for a standby of an empty one. Nobody else loses a vote while it lives, unless the
   target was lowered.
6. Who was made a standby by an operator stays one.
7. Two voters that can fence each other, and no third in sight, are armed. They are disarmed before another
   voter comes or goes, and when one of them cannot fence any more; for both, both must live.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from hamgr.raft.core.shrinking import PROBES_MIN
from hamgr.raft.protocol.membership import PAIR, ReplicaId

WAITS_MAX = 6
"""After so many falls in a row, the wait grows no more."""


class Action(StrEnum):
    PROMOTE = "promote"
    DEMOTE = "demote"
    LET_GO = "let go"
    """As demote, of a voter that is dead."""
    ARM = "arm"
    """Fencing for two voters."""
    DISARM = "disarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to do, and why, as people read it."""

    action: Action
    replica: ReplicaId
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long is long enough.

    Attributes:
        dead_s: A voter that was silent for so long, and failed its probes, is dead.
        stable_s: A standby must have been well for so long.
    """

    dead_s: float = 10.0
    stable_s: float = 10.0

    def wait_s(self, falls: int) -> float:
        """Return how long a standby must have been well that fell so often lately."""
        return float(self.stable_s * 2 ** min(max(falls - 1, 0), WAITS_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One replica.

    Attributes:
        silent_s: Since a sign of life; 0.0 of ourselves.
        failed: The probes that it failed since it fell silent, in words.
        resting: An operator said that it would be away.
        kept: An operator made it a standby.
        well_s: For how long it has lived and had nearly all of the log, without a break.
        falls: How often it was found dead lately.
    """

    id: ReplicaId
    name: str
    voter: bool
    alive: bool
    silent_s: float = 0.0
    failed: tuple[str, ...] = ()
    domain: str = ""
    resting: bool = False
    kept: bool = False
    well_s: float = 0.0
    falls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that is looked at.

    Attributes:
        me: Who leads.
        leads: False when it has lost its majority, and may lead on.
        settled: A change may be begun.
        target: How many voters there should be.
        armed: Fencing is armed for the two voters.
        armable: Both can fence the other one, by their last test.
    """

    me: ReplicaId
    leads: bool
    settled: bool
    target: int
    replicas: tuple[Seen, ...]
    pace: Pace = Pace()
    armed: bool = False
    armable: bool = False

    @property
    def voters(self) -> list[Seen]:
        return [one for one in self.replicas if one.voter]


def decide(view: View) -> Change | None:
    """Return the one change that is due; None when none is."""
    if not view.settled:
        return None
    change = _let_go(view)
    if change is None and view.leads and all(one.alive for one in view.voters):
        change = _promote(view) or _make_way(view)
        change = _arming(view, change) or change
    return change


def suspects(view: View) -> list[Seen]:
    """Return the voters that are silent for so long that it is time to probe them."""
    return [one for one in view.voters if one.id != view.me and _is_silent(view, one)]


def wanted(target: int, able: int) -> int:
    """Return how many voters there should be when `able` replicas could be some."""
    count = min(target, able)
    return count if count <= 2 else count - (count + 1) % 2


def standing(view: View, one: Seen) -> str:
    """Return in one sentence why a replica is what it is, and what it waits for; empty when there is none."""
    if one.voter:
        if one.alive or one.id == view.me:
            return ""
        if one.resting:
            return "is away as planned, and stays a voter"
        return _why_it_stays(view, one)
    if one.kept:
        return f"an operator made it a standby; `hamgr replica promote {one.name}` ends that"
    if not one.alive:
        return "is not connected"
    wait_s = view.pace.wait_s(one.falls)
    if one.well_s < wait_s:
        often = f", having fallen {one.falls} times lately" if one.falls > 1 else ""
        return f"may get a vote after {wait_s:g} s of being well{often}; {one.well_s:.0f} s have passed"
    return "is ready to get a vote when one is needed"


def _arming(view: View, change: Change | None) -> Change | None:
    """Return what is due about fencing before `change`, or when nothing else is; all voters live."""
    other = next((one for one in view.voters if one.id != view.me), None)
    if other is None:
        return None
    if view.armed and (change is not None or not view.armable):
        reason = "one of the two cannot fence the other one now" if change is None else change.reason
        return Change(action=Action.DISARM, replica=other.id, name=other.name, reason=reason)
    if not view.armed and view.armable and change is None and len(view.voters) == PAIR:
        reason = "each of the two can fence the other one"
        return Change(action=Action.ARM, replica=other.id, name=other.name, reason=reason)
    return None


def _is_silent(view: View, one: Seen) -> bool:
    return not one.alive and not one.resting and one.silent_s >= view.pace.dead_s


def _let_go(view: View) -> Change | None:
    dead = [one for one in suspects(view) if len(set(one.failed)) >= PROBES_MIN]
    dead.sort(key=lambda one: (-one.silent_s, one.name))
    for one in dead:
        if _majority_lives(view, one):
            reason = f"silent for {one.silent_s:.0f} s; {'; '.join(one.failed)}"
            return Change(action=Action.LET_GO, replica=one.id, name=one.name, reason=reason)
    return None


def _majority_lives(view: View, without: Seen) -> bool:
    rest = [one for one in view.voters if one.id != without.id]
    return sum(one.alive for one in rest) > len(rest) // 2


def _why_it_stays(view: View, one: Seen) -> str:
    if one.silent_s < view.pace.dead_s:
        return f"has been silent for {one.silent_s:.0f} s, and stays a voter for {view.pace.dead_s:g} s"
    if not _majority_lives(view, one):
        return "is dead, and stays a voter: those that live are no majority without it either"
    if len(set(one.failed)) < PROBES_MIN:
        return "is silent, but answers probes; it stays a voter"
    return "is dead, and will be made a standby"


def _ready(view: View) -> list[Seen]:
    """Return the standbys that could vote, whoever suits best first."""
    crowd = _crowd(view)
    found = [
        one
        for one in view.replicas
        if not one.voter
        and one.alive
        and not one.kept
        and not one.resting
        and one.well_s >= view.pace.wait_s(one.falls)
    ]
    return sorted(found, key=lambda one: (crowd[one.domain], one.name))


def _promote(view: View) -> Change | None:
    ready, count = _ready(view), len(view.voters)
    if ready and count < wanted(view.target, count + len(ready)):
        return _promotion(ready[0], f"there are {count} voters, and {view.target} are wished for")
    domains = {voter.domain for voter in view.voters}
    if count > 2 and count % 2 and _crowded(view):
        for one in ready:
            if one.domain and one.domain not in domains:
                return _promotion(one, f"no voter is in the failure domain {one.domain}")
    return None


def _promotion(one: Seen, reason: str) -> Change:
    return Change(action=Action.PROMOTE, replica=one.id, name=one.name, reason=reason)


def _make_way(view: View) -> Change | None:
    """Return who gives its vote up although it lives."""
    count, crowd = len(view.voters), _crowd(view)
    crowded = _crowded(view)
    others = [one for one in view.voters if one.id != view.me]
    if count > view.target:
        one = max(others, key=lambda one: (crowd[one.domain], one.name))
        reason = f"there are {count} voters, and {view.target} are wished for"
    elif count > 2 and count % 2 == 0 and crowded:
        one = crowded[-1]
        reason = f"too many voters are in the failure domain {one.domain}; {count - 1} survive as much"
    else:
        return None
    return Change(action=Action.DEMOTE, replica=one.id, name=one.name, reason=reason)


def _crowd(view: View) -> Counter[str]:
    """Return how many voters each failure domain has; those without one are alone."""
    return Counter(one.domain for one in view.voters if one.domain)


def _crowded(view: View) -> list[Seen]:
    """Return the voters besides us of the one domain that has more of them than any other, by name."""
    first = _crowd(view).most_common(2)
    if not first or first[0][1] < 2 or (len(first) > 1 and first[1][1] == first[0][1]):
        return []
    return sorted(
        (one for one in view.voters if one.domain == first[0][0] and one.id != view.me),
        key=lambda one: one.name,
    )

"""Which further losses are survived: tried out, one after the other, on the electorate and its rules.

1. What is lost at once must leave a majority; or else, with an autopilot, the leader and so many that they
   are a majority of the electorate without one of the dead (see `hamgr.raft.core.shrinking`).
2. Before each of the losses that come one by one, the autopilot has had the time to let go of whom it can.
   Who leads then is whoever suits least.
3. Either of two voters for which fencing is armed may be lost: the other one switches it off and goes on.
4. Standbys that might be promoted meanwhile are not counted on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

VOTERS_MAX = 9
"""Of more, only what is lost at once is told: the ways grow beyond all bounds."""

PAIR = 2

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who votes, who of those lives, who leads, and whether fencing is armed for the two voters."""

    voters: Names
    alive: Names
    leader: str
    armed: bool = False


@dataclass(frozen=True, slots=True)
class Losses:
    """How many further voters may be lost.

    Attributes:
        at_once: Any so many.
        at_once_following: So many, if the leader is not among them.
        in_turn: Any so many, one by one.
        in_turn_following: So many one by one, none of which leads when it is lost.
        fenced: The one is survived because the other one fences it.
    """

    at_once: int = 0
    at_once_following: int = 0
    in_turn: int = 0
    in_turn_following: int = 0
    fenced: bool = False

    def sentence(self, dead_s: float) -> str:
        """Return what is survived beyond what any loss at once is, in words; empty when that is all."""
        said = []
        if self.fenced:
            said.append(f"either of the two, which the other one switches off after {dead_s:g} s")
        elif self.at_once_following > self.at_once:
            at_once = " at once" if self.at_once_following > 1 else ""
            said.append(f"{_followers(self.at_once_following)}{at_once}")
        in_turn = []
        if self.in_turn > self.at_once:
            in_turn.append(f"any {self.in_turn}")
        if self.in_turn_following > max(self.in_turn, self.at_once_following):
            in_turn.append(_followers(self.in_turn_following))
        if in_turn:
            several = max(self.in_turn, self.in_turn_following) > 1
            apart = "one by one, each" if several else "if it is lost"
            said.append(f"{' or '.join(in_turn)} {apart} more than {dead_s:g} s after the one before")
        return f"survived as well: {', or '.join(said)}" if said else ""


def _followers(count: int) -> str:
    return f"{count} that do not lead" if count > 1 else "one that does not lead"


def survived(now: Standing, *, lets_go: bool) -> Losses:
    """Return how many losses `now`, in which a majority lives, survives.

    Args:
        lets_go: An autopilot makes standbys of the dead.
    """

    def any_of(standing: Standing) -> list[str]:
        return sorted(standing.alive & standing.voters)

    def following(standing: Standing) -> list[str]:
        return [name for name in any_of(standing) if name != standing.leader]

    if not now.leader:
        return Losses()
    small = len(now.voters) <= VOTERS_MAX
    return Losses(
        at_once=_at_once(now, any_of(now), lets_go=lets_go),
        at_once_following=_at_once(now, following(now), lets_go=lets_go),
        in_turn=_in_turn(now, any_of, lets_go=lets_go) if small else 0,
        in_turn_following=_in_turn(now, following, lets_go=lets_go) if small else 0,
        fenced=_fences(now, now.alive, lets_go=lets_go) and len(now.alive & now.voters) == PAIR,
    )


def goes_on(now: Standing, lost: Names, *, lets_go: bool) -> bool:
    """Return whether commands are taken after `lost` are lost at once, be it after a while."""
    alive = now.alive - lost
    if _is_majority(alive, now.voters):
        return True
    dead = sorted(now.voters - alive)
    if _fences(now, alive, lets_go=lets_go):
        return True
    return lets_go and now.leader in alive and bool(dead) and _is_majority(alive, now.voters - {dead[0]})


def settled(now: Standing, lost: Names, *, lets_go: bool) -> Iterator[Standing]:
    """Yield what may have become of `now`, which goes on after `lost` are lost, when there was time."""
    alive, voters = now.alive - lost, now.voters
    for dead in sorted(voters - alive) if lets_go else ():
        if _is_majority(alive, voters - {dead}):
            voters -= {dead}
    armed = now.armed and voters == now.voters
    leads = {now.leader} & alive or alive & voters
    for leader in sorted(leads):
        yield Standing(voters, alive, leader, armed=armed)


def _fences(now: Standing, alive: Names, *, lets_go: bool) -> bool:
    """Say whether one of two lives on by switching the other one off."""
    return lets_go and now.armed and len(now.voters) == PAIR and bool(alive & now.voters)


def _is_majority(alive: Names, voters: Names) -> bool:
    return len(alive & voters) > len(voters) // 2


def _at_once(now: Standing, candidates: list[str], *, lets_go: bool) -> int:
    """Return the greatest number of which all sets of `candidates` may be lost."""
    count = 0
    while count < len(candidates) and _all_survived(now, candidates, count + 1, lets_go=lets_go):
        count += 1
    return min(count, len(now.alive & now.voters) - 1)


def _all_survived(now: Standing, candidates: list[str], count: int, *, lets_go: bool) -> bool:
    if len(candidates) > VOTERS_MAX:  # they are alike but for the leader
        rest = [name for name in candidates if name != now.leader]
        worst = [*(name for name in candidates if name == now.leader), *rest][:count]
        return goes_on(now, frozenset(worst), lets_go=lets_go)
    return all(goes_on(now, frozenset(lost), lets_go=lets_go) for lost in combinations(candidates, count))


def _in_turn(now: Standing, candidates: Callable[[Standing], list[str]], *, lets_go: bool) -> int:
    @cache
    def least(standing: Standing) -> int:
        """Return how many losses in turn are survived, in the worst order."""
        found = []
        for name in candidates(standing):
            lost = frozenset({name})
            if not goes_on(standing, lost, lets_go=lets_go):
                return 0
            found += [1 + least(later) for later in settled(standing, lost, lets_go=lets_go)]
        return min(found, default=0)

    return min(least(standing) for standing in settled(now, frozenset(), lets_go=lets_go))

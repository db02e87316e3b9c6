"""Whose log a cluster that lost its majority goes on with, and what that costs. Pure.

1. What any survivor knows to be committed is kept: only a log that holds all of it can be chosen.
2. Among those, the one whose last entry has the highest term is chosen, then the longest one (Raft, section
   5.4.1). It holds whatever the leader of its own term had committed and any survivor has: a later leader's
   entry follows all that was committed before, and the longer of two logs of one leader holds the shorter.
   Rule 1 is needed beside it: an entry that an old leader left behind may outrank one that a new leader has
   committed, if no survivor has an entry of the new one.
3. Nobody alive knows what the dead acknowledged after the end of the survivors' logs; there is no bound to
   it, and none is pretended.
4. Logs may fork after what is sure. The other branch is not kept. It can have been acknowledged only if a
   leader took it up again after the chosen log's last term, with the dead alone; so it is listed, not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hamgr.recovery.survivor import CannotRecover, Entry, Survivor


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Entries `first` to `last` of the chosen log, and the names of the survivors that have them."""

    first: int
    last: int
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Entries that a survivor has and the chosen log has not.

    Attributes:
        never_committed: Others are known to be committed in their place, so nobody was told of them.
        entries: As far as they are described.
    """

    survivor: str
    first: int
    last: int
    never_committed: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the survivors' logs say together.

    Attributes:
        survivors: In the order of preference, the chosen one first.
        sure: All entries up to here are committed for sure, and kept.
        spans: Where the entries of the chosen log after `sure` are; they are kept, committed or not.
        branches: What is not kept.
    """

    survivors: tuple[Survivor, ...]
    sure: int
    spans: tuple[Span, ...]
    branches: tuple[Branch, ...]

    @property
    def chosen(self) -> Survivor:
        return self.survivors[0]

    @property
    def unsure(self) -> tuple[Entry, ...]:
        """Entries that are kept and not known to be committed, as far as they are described."""
        return tuple(entry for entry in self.chosen.tail if entry.index > self.sure)


def compare(reports: Sequence[Survivor]) -> Comparison:
    """Compare the reports of a cluster's survivors.

    Raises:
        CannotRecover: They are not of one cluster, or contradict each other.
    """
    survivors = _one_of_each(reports)
    _check_sure(survivors)
    knows = max(survivors, key=lambda one: one.commit)
    sure, sure_term = knows.commit, knows.term_at(knows.commit)
    complete = [one for one in survivors if one.commit == sure or one.term_at(sure) == sure_term]
    chosen = min(complete, key=_preference)
    others = sorted((one for one in survivors if one is not chosen), key=_preference)
    return Comparison(
        survivors=(chosen, *others),
        sure=sure,
        spans=_spans(chosen, others, sure),
        branches=tuple(
            branch for one in others if (branch := _branch(chosen, one, sure, one in complete)) is not None
        ),
    )


def agree_until(one: Survivor, other: Survivor, sure: int) -> int:
    """Return the last entry after `sure` that both have, or `sure`; both must have the entry `sure`.

    Two logs that have an entry of the same index and term are the same up to it (Raft, section 5.3).
    """
    low, high = sure, min(one.last, other.last)
    while low < high:
        middle = (low + high + 1) // 2
        if one.term_at(middle) == other.term_at(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _preference(one: Survivor) -> tuple[int, int, bool, str]:
    is_voter = one.replica in one.members().voter_ids
    return (-one.last_term, -one.last, not is_voter, one.replica)


def _one_of_each(reports: Sequence[Survivor]) -> list[Survivor]:
    found: dict[str, Survivor] = {}
    for one in reports:
        first = reports[0]
        if one.cluster != first.cluster:
            raise CannotRecover(
                f"the report of {one.name} is of cluster {one.cluster}, and that of {first.name} of cluster "
                f"{first.cluster}; leave out the one that does not belong"
            )
        before = found.setdefault(one.replica, one)
        if before.model_copy(update={"made_at": one.made_at}) != one:
            raise CannotRecover(
                f"there are two reports of {one.name} that differ; stop it, make it again, and give that one"
            )
    return list(found.values())


def _check_sure(survivors: Sequence[Survivor]) -> None:
    """Return if nobody contradicts what another one knows to be committed."""
    for one in survivors:
        for other in survivors:
            ours, theirs = one.term_at(one.commit), other.term_at(one.commit)
            if other.commit >= one.commit and None not in (ours, theirs) and ours != theirs:
                raise CannotRecover(
                    f"{one.name} and {other.name} hold different entries {one.commit} for committed, "
                    "which is a bug; keep both folders, report it, and recover with one of them alone"
                )


def _spans(chosen: Survivor, others: Sequence[Survivor], sure: int) -> tuple[Span, ...]:
    reach = [(chosen.name, chosen.last)]
    reach += [
        (one.name, agree_until(chosen, one, sure))
        for one in others
        if one.last > sure and one.term_at(sure) == chosen.term_at(sure)
    ]
    ends = sorted({end for _name, end in reach if end > sure})
    spans, first = [], sure + 1
    for end in ends:
        holders = tuple(name for name, last in reach if last >= end)
        spans.append(Span(first=first, last=end, holders=holders))
        first = end + 1
    return tuple(spans)


def _branch(chosen: Survivor, one: Survivor, sure: int, holds_sure: bool) -> Branch | None:
    first = agree_until(chosen, one, sure) + 1 if holds_sure else _parting(chosen, one)
    if first > one.last:
        return None
    return Branch(
        survivor=one.name,
        first=first,
        last=one.last,
        never_committed=not holds_sure,
        entries=tuple(entry for entry in one.tail if entry.index >= first),
    )


def _parting(chosen: Survivor, one: Survivor) -> int:
    """Return the first entry of `one` that is known to be another than the chosen log's."""
    low = max(one.commit, chosen.runs[0].first - 1)
    return agree_until(chosen, one, low) + 1

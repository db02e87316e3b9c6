"""What an operator is told before anything is changed: what is kept, what is lost, and what is not known."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from hamgr.recovery.alive import Answer
from hamgr.recovery.comparison import Branch, Comparison
from hamgr.recovery.survivor import TAIL_MAX, Entry, Survivor


def sentence_of(found: Comparison) -> str:
    """Return what has to be typed: it names the cluster, the survivor, and where its log ends."""
    cluster = found.chosen.cluster.partition("-")[0]
    return f"recover {cluster} on {found.chosen.name} at entry {found.chosen.last}"


def lines(found: Comparison, answers: Sequence[Answer]) -> list[str]:
    """Return what the reports say, for people."""
    chosen = found.chosen
    told = [f"cluster   {chosen.cluster}"]
    told += [f"survivor  {_survivor(one)}" for one in found.survivors]
    told += [f"member    {answer.member.name} {answer.what}" for answer in answers]
    told.append(f"to be used: the log of {chosen.name}, up to entry {chosen.last} of term {chosen.last_term}")
    told.append(f"committed for sure: all entries up to {found.sure}; they are kept")
    told += _unsure(found)
    for branch in found.branches:
        told += _branch(branch, chosen)
    told.append(
        f"lost: entries after {chosen.last}, if any. Nobody here has them, and how many the dead had "
        "acknowledged cannot be known."
    )
    if any(not answer.alive for answer in answers):
        told.append(
            "Make sure that the members that did not answer are off, and not just cut off from here: a "
            "majority of them would go on as the old cluster, beside the new one."
        )
    return told


def told(found: Comparison, answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "cluster": found.chosen.cluster,
        "chosen": found.chosen.name,
        "sure": found.sure,
        "last": found.chosen.last,
        "last_term": found.chosen.last_term,
        "survivors": [
            {"name": one.name, "replica": one.replica, "last": one.last, "last_term": one.last_term,
             "commit": one.commit, "term": one.term}
            for one in found.survivors
        ],
        "members": [
            {"name": answer.member.name, "alive": answer.alive, "what": answer.what} for answer in answers
        ],
        "kept_unsure": {
            "spans": [
                {"first": span.first, "last": span.last, "on": list(span.holders)} for span in found.spans
            ],
            "entries": [entry.model_dump() for entry in found.unsure],
        },
        "dropped": [
            {"on": branch.survivor, "first": branch.first, "last": branch.last,
             "never_committed": branch.never_committed,
             "entries": [entry.model_dump() for entry in branch.entries]}
            for branch in found.branches
        ],
        "lost_after": found.chosen.last,
        "confirm": sentence_of(found),
    }  # fmt: skip


def _survivor(one: Survivor) -> str:
    return (
        f"{one.name}: last entry {one.last} of term {one.last_term}, committed at least to {one.commit}, "
        f"promised term {one.term}"
    )


def _unsure(found: Comparison) -> Iterable[str]:
    if not found.spans:
        return
    last = found.chosen.last
    yield (
        f"kept, though it is not known whether they were committed: entries {found.sure + 1} to {last} "
        "(who asked for one may have been told that its outcome is unknown)"
    )
    for span in found.spans:
        yield f"  {span.first} to {span.last}: on {', '.join(span.holders)}"
    yield from _described(found.unsure, last - found.sure)


def _branch(branch: Branch, chosen: Survivor) -> Iterable[str]:
    head = f"not kept: entries {branch.first} to {branch.last} of {branch.survivor}"
    if branch.never_committed:
        yield f"{head}; others were committed in their place, so nobody was told that they are done"
    else:
        yield (
            f"{head}; the log of {chosen.name} has others there. They may have been acknowledged, if a later "
            f"leader than that of term {chosen.last_term} took them up:"
        )
    yield from _described(branch.entries, branch.last - branch.first + 1)


def _described(entries: Sequence[Entry], count: int) -> Iterable[str]:
    if count > len(entries):
        yield f"  ({count - len(entries)} older ones are not listed; {TAIL_MAX} are the most)"
    for entry in entries:
        when = f"{datetime.fromtimestamp(entry.at, UTC):%Y-%m-%d %H:%M:%S} UTC  " if entry.at else ""
        who = f" by {entry.actor}" if entry.actor else ""
        request = f" (request {entry.request})" if entry.request else ""
        yield f"  {entry.index}  {when}{' '.join(filter(None, (entry.command, entry.subject)))}{who}{request}"

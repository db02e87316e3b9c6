"""Random histories of a small cluster by the rules of Raft, with what was acknowledged written down.

Messages are lost, reordered into nothing and never seen late; replicas are cut off for as long as chance
wants. What matters here is which logs can be left behind, and who had been told that an entry is committed.
"""

import itertools
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from hamgr.recovery.survivor import Entry, MemberPart, Run, Survivor

CLUSTER = "c1"


def replica_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def members(count: int) -> tuple[MemberPart, ...]:
    return tuple(MemberPart(id=replica_id(n), name=f"r{n}", raft=f"h{n}:1") for n in range(1, count + 1))


def survivor(
    number: int, terms: list[int], commit: int, *, first: int = 1, voters: int = 5, term: int | None = None
) -> Survivor:
    """Return the report of the replica `r<number>`, whose log has entries of these terms."""
    last = len(terms)
    runs: list[Run] = []
    for index in range(first, last + 1):
        if not runs or runs[-1].term != terms[index - 1]:
            runs.append(Run(first=index, term=terms[index - 1]))
    return Survivor(
        made_at="2024-05-06T07:08:09+00:00",
        version="0",
        cluster=CLUSTER,
        replica=replica_id(number),
        name=f"r{number}",
        folder="00" * 16,
        term=max([term or 0, *terms]),
        vote=None,
        commit=commit,
        snapshot=first if first > 1 else 0,
        last=last,
        runs=tuple(runs),
        voters=members(voters),
        tail=tuple(
            Entry(index=index, term=terms[index - 1], command="SetGlobals")
            for index in range(commit + 1, last + 1)
        ),
    )


@dataclass
class Replica:
    term: int = 0
    log: list[int] = field(default_factory=list)
    """The terms of its entries; with the index they say which entry it is."""
    commit: int = 0

    @property
    def last_term(self) -> int:
        return self.log[-1] if self.log else 0


@dataclass
class History:
    """A cluster of `count` voters.

    Attributes:
        acknowledged: Committed entries, `(index, term)`, with the term of the leader that committed them.
    """

    random: random.Random
    count: int
    replicas: list[Replica] = field(default_factory=list)
    leaders: dict[int, int] = field(default_factory=dict)
    _side: list[int] = field(default_factory=list)
    """Who can talk to each other at the moment."""
    acknowledged: dict[tuple[int, int], int] = field(default_factory=dict)

    def run(self, steps: int) -> None:
        self.replicas = [Replica() for _ in range(self.count)]
        self._side = list(range(self.count))
        for _ in range(steps):
            match self.random.choices(("cut", "elect", "append", "send"), (1, 2, 1, 10))[0]:
                case "cut":
                    self._cut()
                case "elect":
                    self._elect()
                    if self.random.random() < 0.7:  # a leader that is cut off leaves entries behind
                        self._cut()
                case "append":
                    if (leader := self._leader()) is not None:
                        self.replicas[leader].log.append(self.replicas[leader].term)
                case "send":
                    self._send()

    def forks(self) -> bool:
        """Say whether the logs of two replicas fork, and one of the branches was acknowledged."""
        for one, other in itertools.combinations(self.replicas, 2):
            parted = False
            for index, terms in enumerate(zip(one.log, other.log, strict=False), start=1):
                parted = parted or terms[0] != terms[1]
                if parted and any((index, term) in self.acknowledged for term in terms):
                    return True
        return False

    def survivors(self) -> Iterator[list[Survivor]]:
        """Yield the reports of each largest minority."""
        reports = []
        for number, one in enumerate(self.replicas, start=1):
            first = self.random.randint(1, max(1, one.commit)) if self.random.random() < 0.5 else 1
            reports.append(
                survivor(number, one.log, one.commit, first=first, voters=self.count, term=one.term)
            )
        for left in itertools.combinations(reports, (self.count - 1) // 2):
            yield list(left)

    def _cut(self) -> None:
        most = self.count // 2 + 1
        self._side = self.random.sample(range(self.count), self.random.choice((most, most, self.count)))

    def _leader(self) -> int | None:
        terms = [
            term
            for term, number in self.leaders.items()
            if self.replicas[number].term == term and number in self._side
        ]
        return self.leaders[self.random.choice(terms)] if terms else None

    def _elect(self) -> None:
        number = self.random.choice(self._side)
        candidate = self.replicas[number]
        term = candidate.term + 1
        reached = self._side
        votes = [
            other
            for other in reached
            if other != number
            and self.replicas[other].term < term
            and _rank(candidate.log) >= _rank(self.replicas[other].log)
        ]
        candidate.term = term
        for other in reached:
            if other != number:
                self.replicas[other].term = max(self.replicas[other].term, term)
        if len(votes) + 1 > self.count // 2:
            self.leaders[term] = number
            candidate.log.append(term)

    def _send(self) -> None:
        number = self._leader()
        if number is None or len(self._side) < 2:
            return
        leader = self.replicas[number]
        other = self.replicas[self.random.choice([n for n in self._side if n != number])]
        if other.term > leader.term:
            leader.term = other.term
            return
        other.term = leader.term
        common = next(
            (
                i
                for i in range(min(len(leader.log), len(other.log)), 0, -1)
                if leader.log[i - 1] == other.log[i - 1]
            ),
            0,
        )
        until = min(len(leader.log), common + self.random.choice((0, 1, 1, 2, 64)))
        assert common >= other.commit, "the model itself is wrong"
        if until > common:
            other.log[common:] = leader.log[common:until]
        other.commit = max(other.commit, min(leader.commit, until))
        self._commit(leader)

    def _commit(self, leader: Replica) -> None:
        for end in range(len(leader.log), leader.commit, -1):
            holders = sum(
                len(one.log) >= end and one.log[:end] == leader.log[:end] and one.term <= leader.term
                for one in self.replicas
            )
            if leader.log[end - 1] == leader.term and holders > self.count // 2:
                for index in range(1, end + 1):
                    self.acknowledged.setdefault((index, leader.log[index - 1]), leader.term)
                leader.commit = end
                return


def _rank(log: list[int]) -> tuple[int, int]:
    return (log[-1] if log else 0, len(log))

"""A fleet in virtual time: who reaches whom, what the judge makes of it, and the laws that must hold.

Everything that happens follows from one seed. The laws:

1. Nobody is called unreachable while a replica that could be asked had an open way to it since long.
2. A node that is dead, and that no job holds, is called unreachable within `DETECTED_S`.
3. A node that is back for good is called reachable within `BACK_S`.
4. A fleet to which nothing happens costs no entry of the log.
"""

from dataclasses import dataclass, field, replace
from random import Random

from hamgr.presence.judge import Judge, Rules, Subject, Verdict
from statemachine.words import NodeName, Presence

TIMEOUT_S = 1.25
DETECTED_S = 10.0
OPEN_S = 6.0
"""A way that has been open for so long cannot have been missed."""
BACK_S = 30.0
AWAY_S = 10.0


class Broken(AssertionError):
    """A law does not hold; the message says which, and the seed."""


@dataclass(slots=True)
class World:
    """Replicas and nodes.

    Attributes:
        shut: Ways that are closed, as (vantage, node).
        gone: Replicas that do not answer.
        dead: Nodes that are off, since when.
    """

    seed: int
    nodes: int = 12
    replicas: tuple[str, ...] = ("r1", "r2", "r3")
    rules: Rules = field(default_factory=Rules)
    lonely: bool = False
    """The judge is told that there is nobody else, although there is: an ablation."""
    loss: float = 0.0
    now: float = 1_000.0
    random: Random = field(init=False)
    judge: Judge = field(init=False)
    subjects: dict[NodeName, Subject] = field(init=False)
    shut: set[tuple[str, NodeName]] = field(default_factory=set)
    opened: dict[tuple[str, NodeName], float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    away: dict[str, float] = field(default_factory=dict)
    dead: dict[NodeName, float] = field(default_factory=dict)
    alive: dict[NodeName, float] = field(default_factory=dict)
    entries: list[list[Verdict]] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.judge = Judge(self.rules)
        names = [NodeName(f"n{i}") for i in range(self.nodes)]
        self.subjects = {name: Subject(presence=Presence.REACHABLE) for name in names}

    def change(self, name: NodeName, **fields: object) -> None:
        self.subjects[name] = replace(self.subjects[name], **fields)

    def die(self, *names: NodeName) -> None:
        for name in names:
            self.alive.pop(name, None)
            self.dead.setdefault(name, self.now)

    def live(self, *names: NodeName) -> None:
        for name in names:
            if self.dead.pop(name, None) is not None:
                self.alive[name] = self.now

    def cut(self, vantage: str, name: NodeName) -> None:
        self.shut.add((vantage, name))

    def mend(self, vantage: str, name: NodeName) -> None:
        self.shut.discard((vantage, name))
        self.opened[vantage, name] = self.now

    def new_leader(self) -> None:
        """Have another replica lead: what the judge remembered is gone."""
        self.judge = Judge(self.rules)
        self.away.clear()

    def reaches(self, vantage: str, name: NodeName) -> bool:
        return name not in self.dead and (vantage, name) not in self.shut

    def round(self) -> list[Verdict]:
        """Do what the leader does once; return the verdicts."""
        up = [name for name in self.replicas if name not in self.gone]
        near = up[:1] if self.lonely else [name for name in up if self.away.get(name, 0.0) <= self.now]
        asked = self.judge.asks(
            self.now, dict(self.subjects), near or up[:1], alone=self.lonely or len(up) == 1
        )
        answers: dict[str, dict[NodeName, str]] = {}
        for vantage, names in asked.items():
            self.asked += len(names)
            if vantage in self.gone:
                self.away[vantage] = self.now + AWAY_S
                continue
            answers[vantage] = {
                name: "no connection"
                for name in names
                if not self.reaches(vantage, name) or self.random.random() < self.loss
            }
        slow = any(answers.values())
        self.now += TIMEOUT_S if slow else 0.05
        self.judge.take(self.now, {name: asked[name] for name in answers}, answers)
        for name in self.judge.returning(self.now):
            self.judge.confirm(name)
        verdicts = self.judge.verdicts(self.now)
        self._note(verdicts)
        self.now += 0.25 if slow else self.rules.recheck_s
        return verdicts

    def _note(self, verdicts: list[Verdict]) -> None:
        if verdicts:
            self.entries.append(verdicts)
        for one in verdicts:
            if one.presence is Presence.UNREACHABLE:
                self._check_verdict(one)
            self.change(one.node, presence=one.presence, reason=one.reason)
        self.judge.told(self.now, verdicts)

    def _check_verdict(self, one: Verdict) -> None:
        for vantage in self.replicas:
            if vantage in self.gone or not self.reaches(vantage, one.node):
                continue
            since = max(self.opened.get((vantage, one.node), 0.0), self.alive.get(one.node, 0.0))
            if self.now - since > OPEN_S and self.away.get(vantage, 0.0) <= self.now:
                raise Broken(
                    f"seed {self.seed}: {one.node} is called unreachable ({one.reason}), "
                    f"and {vantage} reaches it"
                )

    def check_presences(self) -> None:
        """See that what is dead or back for long enough is known as that."""
        for name, since in self.dead.items():
            subject = self.subjects[name]
            held = subject.job or subject.replica_up
            if not held and self.now - since > DETECTED_S and subject.presence is not Presence.UNREACHABLE:
                raise Broken(f"seed {self.seed}: {name} is dead for {self.now - since:.1f} s")
        for name, since in self.alive.items():
            ways = [self.opened.get((vantage, name), 0.0) for vantage in self.replicas]
            open_ = not any((vantage, name) in self.shut for vantage in self.replicas)
            quiet = self.now - max(since, *ways) > BACK_S
            if open_ and quiet and self.subjects[name].presence is not Presence.REACHABLE:
                raise Broken(f"seed {self.seed}: {name} is back for {self.now - since:.1f} s")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            self.round()
            self.check_presences()

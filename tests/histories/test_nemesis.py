"""The nemesis does what it is told, undoes all of it whatever happens, and notices who died by itself."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.histories.cluster import SeparateCluster
from tests.histories.nemesis import Nemesis
from tests.histories.schedule import PARTS, Kind, Misfortune, Part

NAMES = ["r1", "r2", "r3"]


@dataclass
class Puppets:
    """A cluster of which only the outside is there: it remembers what was done to it."""

    log: Path
    names: list[str] = field(default_factory=lambda: [*NAMES])
    cuts: list[tuple[str, ...]] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    dead: dict[str, int] = field(default_factory=dict)
    hurt: set[str] = field(default_factory=set)
    voteless: set[str] = field(default_factory=set)
    ahead: set[str] = field(default_factory=set)
    breaks: bool = False

    def __post_init__(self) -> None:
        self.layout = SimpleNamespace(replicas=[SimpleNamespace(name=n, log=self.log) for n in NAMES])
        self.processes = SimpleNamespace(ended=self.dead.get, start_replica=self.dead.pop)
        cut = {k: self._cut(k) for k in ("isolate", "shatter", "deafen", "silence", "block")}
        self.sites = SimpleNamespace(heal=self.cuts.clear, **cut)

    def _cut(self, kind: str) -> Any:
        def act(*names: str) -> None:
            if self.breaks:
                raise OSError("no such bridge")
            self.cuts.append((kind, *names))
            self.hurt |= {*names}

        return act

    def leader(self) -> str:
        return "r2"

    def kill(self, name: str) -> None:
        self.hurt.add(name)
        self.dead[name] = -9

    def freeze(self, name: str) -> None:
        self.hurt.add(name)
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self.frozen.discard(name)

    def vote(self, name: str, *, votes: bool) -> str:
        self.hurt.add(name)
        (self.voteless.discard if votes else self.voteless.add)(name)
        return f"{name} {votes}"

    def set_clock(self, *names: str, ahead_s: float) -> None:
        self.hurt |= {*names}
        self.ahead = self.ahead | {*names} if ahead_s else self.ahead - {*names}

    def is_whole(self) -> bool:
        return not (self.cuts or self.frozen or self.dead or self.voteless or self.ahead)


@pytest.fixture
def puppets(tmp_path: Path) -> Puppets:
    (tmp_path / "log").write_text("the disk is on fire\n")
    return Puppets(tmp_path / "log")


def nemesis_of(puppets: Puppets) -> Nemesis:
    return Nemesis(cast("SeparateCluster", puppets), random.Random(1))


def misfortune(kind: Kind, part: Part, *, begins_s: float = 0.0, lasts_s: float = 0.05) -> Misfortune:
    return Misfortune(kind=kind, part=part, begins_s=begins_s, lasts_s=lasts_s)


@pytest.mark.parametrize(
    ("kind", "part"), [(kind, part) for kind in Kind for part in dict.fromkeys(PARTS[kind])]
)
def test_a_misfortune_befalls_its_part_and_is_undone(puppets: Puppets, kind: Kind, part: Part) -> None:
    nemesis = nemesis_of(puppets)
    nemesis.run([misfortune(kind, part)], lambda: False)
    assert puppets.is_whole()
    told = [line.split()[2] for line in nemesis.done if "True" not in line and "False" not in line]
    assert told == [kind.split()[0], "undone:"]
    if part is Part.LEADER:
        assert "r2" in puppets.hurt
    elif part is Part.FOLLOWER and kind is not Kind.BLOCK:
        assert puppets.hurt
        assert "r2" not in puppets.hurt
    assert nemesis.deaths == []


def test_two_misfortunes_at_once_are_undone_one_by_one(puppets: Puppets) -> None:
    plan = [
        misfortune(Kind.KILL, Part.LEADER, lasts_s=0.2),
        misfortune(Kind.ISOLATE, Part.FOLLOWER, begins_s=0.05),
    ]
    nemesis = nemesis_of(puppets)
    nemesis.run(plan, lambda: False)
    assert puppets.is_whole()
    assert [line.split()[2] for line in nemesis.done] == ["kill", "isolate", "undone:", "undone:"]


def test_what_has_begun_is_undone_when_time_is_over_or_a_tool_fails(puppets: Puppets) -> None:
    frozen = misfortune(Kind.FREEZE, Part.ALL, lasts_s=60.0)
    nemesis_of(puppets).run([frozen], lambda: bool(puppets.frozen))
    assert puppets.is_whole()
    puppets.breaks = True
    cut = misfortune(Kind.ISOLATE, Part.LEADER, begins_s=0.02)
    with pytest.raises(OSError, match="no such bridge"):
        nemesis_of(puppets).run([frozen, cut], lambda: False)
    assert puppets.is_whole()


def test_a_replica_that_ends_by_itself_is_noticed_and_started_again(puppets: Puppets) -> None:
    puppets.dead["r3"] = 70
    nemesis = nemesis_of(puppets)
    nemesis.run([misfortune(Kind.KILL, Part.LEADER)], lambda: False)
    assert puppets.is_whole()
    assert nemesis.deaths == ["replica r3 ended by itself with 70:\nthe disk is on fire\n"]

"""A cluster for a story that is told step by step: no storm, and nobody asks for anything but the story."""

from collections.abc import Callable

from hamgr.raft.protocol.membership import Configuration
from tests.consensus.clients import Read, Write
from tests.consensus.hosts import Host
from tests.consensus.world import World


class Story:
    """Hosts by their letters: `story["a"]` is the first founder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._blocks: list[tuple[str, str]] = []

    def __getitem__(self, name: str) -> Host:
        return self.world.by_name[name]

    def begin(self, leader: str = "a") -> None:
        """Start the founders and have one of them lead."""
        self.world.begin()
        self.elect(leader)
        self.run(0.3)

    def run(self, seconds: float) -> None:
        self.world.schedule.run_for(seconds)

    def until(self, holds: Callable[[], object], *, seconds: float = 5.0) -> float:
        """Run until `holds()`; return how long it took, in virtual seconds."""
        began = self.world.schedule.now
        late = self.world.schedule.run_while(lambda: not holds(), seconds_max=seconds, look_every_s=0.005)
        assert not late, f"not within {seconds} s: {self.world.standing()}"
        return self.world.schedule.now - began

    def until_closely(self, holds: Callable[[], object]) -> None:
        """Run until `holds()`, and hardly any further."""
        late = self.world.schedule.run_while(lambda: not holds(), seconds_max=5.0, look_every_s=0.00005)
        assert not late, self.world.standing()

    def leads(self, name: str) -> bool:
        core = self[name].core
        return core is not None and core.leads

    def leaders(self) -> str:
        return "".join(name for name in self.world.by_name if self.leads(name))

    def elect(self, name: str) -> None:
        """Have `name` stand first, by keeping the others from it."""

        def elected() -> bool:
            for host in self.world.hosts:
                if host.core is not None and host.name != name and not host.core.leads:
                    host.core.election.deferred(host._clock())
            return self.leads(name)

        self.until(elected)

    def elect_by_transfer(self, leader: str, to: str) -> None:
        """Have `leader` hand over."""

        def handed_over() -> bool:
            if self.leads(leader):
                self[leader].call(lambda _host, core, _machine: core.transfer(self[to].id))
            return self.leads(to)

        self.until(handed_over)

    # The network.

    def split(self, *sides: str) -> None:
        """Let only those talk who are named together; whoever is not named, with nobody."""
        side = {host.id: host.name for host in self.world.hosts}
        side |= {self[name].id: group for group in sides for name in group}
        self.block([(a, b) for a in side for b in side if side[a] != side[b]])

    def block(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            self.world.network.block(*pair)
        self._blocks += pairs

    def heal(self) -> None:
        for pair in self._blocks:
            self.world.network.unblock(*pair)
        self._blocks.clear()

    # People.

    def write(self, through: str) -> Write:
        """Begin a write through one replica."""
        return self.world.clients.write(give_up_s=60.0, through=self[through])

    def writes(self, through: str, count: int) -> list[Write]:
        """Write one after the other; all are acknowledged afterwards."""
        done = []
        for _ in range(count):
            done.append(self.write(through))
            self.until(lambda: done[-1].answered)
        return done

    def read(self, through: str) -> Read:
        return self.world.clients.read(through=self[through], give_up_s=60.0)

    def change(self, leader: str, after: Configuration) -> list[str]:
        """Ask for a change of the configuration; the list gets what is answered."""
        answers: list[str] = []
        self[leader].call(lambda _host, core, _machine: core.change(after, answers.append))
        return answers

    def changed(self, leader: str, after: Configuration) -> None:
        answers = self.change(leader, after)
        self.until(lambda: answers)
        assert answers == [""]

    def configuration(self, name: str) -> Configuration:
        core = self[name].core
        assert core is not None
        return core.configuration

    def join(self, leader: str, name: str) -> None:
        """Add a spare as a learner, and start it."""
        after = self.configuration(leader).with_learner(self[name].member)
        self[name].initial = after
        self.changed(leader, after)
        self[name].start()

    def is_on(self, write: Write, *names: str) -> bool:
        return all(write.node in self[name].machine.state.nodes for name in names)

    def arrives(self, write: Write, *names: str) -> None:
        """Wait until a write that was acknowledged is applied there, too: soon."""
        self.until(lambda: self.is_on(write, *names), seconds=0.2)

    def last(self, name: str) -> int:
        core = self[name].core
        assert core is not None
        return core.log.last

    def term(self, name: str) -> int:
        core = self[name].core
        assert core is not None
        return core.term

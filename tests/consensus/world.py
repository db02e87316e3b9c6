"""One seeded world: hosts, network, people and a storm; and the verdict on what happened.

`judge(seed)` builds it, lets it storm, calms it, waits until a write is acknowledged and all are alike, and
returns what broke.
"""

import tempfile
import traceback
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

from hamgr.raft.protocol import replication, snapshots
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.settings import Timers
from tests.consensus.autopilots import Autopilots
from tests.consensus.clients import NEW_KIND, Clients
from tests.consensus.fences import Fences
from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.laws import Broken, Laws
from tests.consensus.network import Link, Network
from tests.consensus.operators import Operators
from tests.consensus.peace import Peace
from tests.consensus.schedule import Schedule
from tests.consensus.storm import Storm
from tests.consensus.trail import Trail

STORM_S = 10.0
PROGRESS_S_MAX = 4.0
"""From the end of the last fault to an acknowledged write."""
CONVERGED_S_MAX = 10.0
REGROWN_S_MAX = 30.0
"""Each of those that fell several times waits for longer."""
FENCING_FAULTS = ("kill", "cut_power", "split", "freeze_leader", "freeze", "stall", "die_in_a_write")
"""Those that matter between two; each world has some, and a host that is away for long."""
UNASKED = "nothing raises but what is documented"
NAMES = "abcdefg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a world is like; drawn from its seed unless it is given.

    Attributes:
        voters: At the beginning.
        spares: Hosts that may be added.
        clients: People who write and read.
        changes: Operators change the members and hand leadership over.
        old_one: One replica does not know all commands, until it is upgraded.
        fencing: Each replica can have any host switched off.
        autopilot: Each replica has one, which is to keep as many voters as there were at the beginning.
        peace: Instead of a storm, one replica at a time is cut off from a healthy majority and comes back.
        compact_every: Entries between two snapshots.
        fault_every_s: The mean time between two faults.
        faults: The only ones that happen; any, when none is named.
        watching: The laws look inside, too.
    """

    voters: int = 3
    spares: int = 0
    clients: int = 3
    changes: bool = False
    old_one: bool = False
    autopilot: bool = False
    fencing: bool = False
    peace: bool = False
    compact_every: int = 20
    trailing_entries: int = 4
    storm_s: float = STORM_S
    fault_every_s: float = 0.35
    faults: tuple[str, ...] = ()
    watching: bool = True

    @classmethod
    def drawn(cls, random: Random, **given: object) -> "Plan":
        drawn = {
            "voters": random.choice((3, 3, 3, 5, 5, 2, 4, 1)),
            "spares": random.choice((0, 0, 1, 2)),
            "clients": random.choice((3, 6, 12)),
            "changes": random.random() < 0.5,
            "old_one": random.random() < 0.1,
            "peace": random.random() < 0.15,
            "fault_every_s": random.choice((0.1, 0.3, 0.3, 0.6)),
            "compact_every": random.choice((12, 25, 80)),
            "trailing_entries": random.choice((0, 5, 30)),
            "autopilot": random.random() < 0.4,
        }
        if given.get("peace", drawn["peace"]):  # who is promoted or handed leadership may disturb
            drawn |= {"changes": False, "spares": 0, "autopilot": False}
        if given.get("fencing"):
            drawn |= {"autopilot": True, "peace": False, "voters": random.choice((2, 2, 2, 3))}
            drawn |= {"spares": random.choice((0, 0, 1)), "changes": random.random() < 0.3}
            drawn |= {"fault_every_s": random.choice((0.3, 0.6, 1.5)), "clients": 2}
            drawn |= {"faults": ("be_away", *random.sample(FENCING_FAULTS, 3)), "old_one": False}
        return cls(**{**drawn, **given})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a world.

    Attributes:
        law: The law that it broke; empty when all is well.
        trace: Digest of every message that arrived, with its time.
    """

    seed: int
    law: str
    how: str
    step: int
    last: tuple[str, ...] = field(repr=False)
    figures: Figures
    trace: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, step {self.step}: {self.law}: {self.how}\n"
            + "\n".join(self.last)
            + f"\nreplay it: python -m tests.consensus --from {self.seed} --seeds 1 --verbose"
        )


class World:
    """Everything that there is under one seed; close it."""

    def __init__(
        self, seed: int, folder: Path, plan: Plan, *, tell: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self.seed = f"world {seed}"
        self.random = Random(self.seed)
        self.schedule = Schedule()
        self.figures = Figures(runs=1)
        self.trail = Trail(lambda: self.schedule.now, tell)
        self.trace = 0
        self.by_name: dict[str, Host] = {}
        self.laws = Laws(
            self.trail,
            self.figures,
            self.by_name,
            watching=plan.watching,
            now=lambda: self.schedule.now,
        )
        self.network = Network(self.schedule, self.seed, self._carried)
        self.timers = Timers()
        self.hosts = [self._host(name, folder) for name in NAMES[: plan.voters + plan.spares]]
        self.founders = self.hosts[: plan.voters]
        initial = Configuration(tuple(host.member for host in self.founders))
        for host in self.founders:
            host.initial = initial
        parts = self.network, self.schedule, self.figures, self.trail
        self.storm = Storm(self.seed, self.hosts, *parts, every_s=plan.fault_every_s, only=plan.faults)
        self.peace = Peace(self.seed, self.hosts, self.storm, *parts)
        self.clients = Clients(self.seed, self.hosts, self.schedule, self.laws, self.figures)
        self.operators = Operators(self.seed, self.hosts, self.schedule, self.figures, self.trail)
        self.fences = Fences(self.seed, self.hosts, self.storm, *parts[1:], there=plan.fencing)
        self.autopilots = Autopilots(self.seed, self.hosts, *parts, target=plan.voters, fences=self.fences)

    def _host(self, name: str, folder: Path) -> Host:
        member = Member(
            id=ReplicaId(str(uuid.UUID(int=self.random.getrandbits(128)))), name=name, raft=f"{name}:1"
        )
        host = Host(
            member,
            folder,
            self.seed,
            timers=self.timers,
            schedule=self.schedule,
            network=self.network,
            laws=self.laws,
            trail=self.trail,
            fell=self._fell,
            compact_every=self.plan.compact_every,
            trailing_entries=self.plan.trailing_entries,
        )
        self.network.attach(host)
        self.by_name[name] = host
        return host

    def _fell(self, host: Host) -> None:
        self.storm.revive(host)

    def _carried(self, link: Link, data: bytes) -> None:
        key = f"{self.schedule.now:.9f} {link.source.name}{link.target.name} {len(data)}"
        self.trace = zlib.crc32(key.encode(), self.trace)

    def close(self) -> None:
        for host in self.hosts:
            if host.alive:
                host.kill()

    # The story.

    def begin(self) -> None:
        for host in self.founders:
            host.start()

    def run(self) -> None:
        """Everything from the first start to the last comparison.

        Raises:
            Broken: A law did not hold.
        """
        plan = self.plan
        if plan.old_one:
            self.random.choice(self.hosts).unknown = NEW_KIND
        self.begin()
        self.clients.new_kind = plan.old_one
        self.clients.begin(plan.clients)
        if plan.changes:
            self.operators.begin()
        if plan.autopilot:
            self.autopilots.begin()
        if plan.peace:
            self.peace.begin()
        else:
            self.storm.begin()
        self.schedule.run_until(plan.storm_s)
        self.calm()
        self.settle()
        self.figures.virtual_s += self.schedule.now

    def calm(self) -> None:
        """End all faults and all work; install the last version everywhere."""
        self.clients.stop()
        self.operators.stop()
        self.peace.stop()
        self.fences.calm()
        self.storm.calm()
        for host in self.hosts:
            if host.unknown is not None:
                host.unknown = None
                if host.alive:
                    self.storm.strike(host, power_too=False, down_s=0.0)

    def settle(self) -> None:
        """Demand a write, then that all members are alike."""
        self.schedule.run_until(max(self.schedule.now, *(host.local for host in self.hosts), 0.0))
        began = self.schedule.now
        if self.schedule.run_while(lambda: not self.leader(), seconds_max=PROGRESS_S_MAX):
            self.laws.break_("somebody leads soon after all faults have ended", self.standing())
        self.clients.asked = self.members()
        write = self.clients.write(give_up_s=2 * PROGRESS_S_MAX)
        if self.schedule.run_while(lambda: not write.answered, seconds_max=PROGRESS_S_MAX):
            self.laws.break_("a write is acknowledged soon after all faults have ended", self.standing())
        self.figures.progress_s_max = self.schedule.now - began
        if self.plan.autopilot and self.schedule.run_while(
            lambda: not self.is_whole(), seconds_max=REGROWN_S_MAX
        ):
            self.laws.break_("the autopilot brings the voters back that lost their vote", self.standing())
        self.autopilots.stop()
        if self.schedule.run_while(lambda: not self.is_alike(), seconds_max=CONVERGED_S_MAX):
            self.laws.break_("all members become alike soon after all faults have ended", self.standing())
        self.figures.converged_s_max = self.schedule.now - began
        for host in self.members():
            self.laws.ends(host.name, host.machine.state)

    def leader(self) -> Host | None:
        """Return who leads in the latest term."""
        leaders = [host for host in self.hosts if host.core is not None and host.core.leads]
        return max(leaders, key=lambda host: host.core.term) if leaders else None

    def members(self) -> list[Host]:
        leader = self.leader()
        if leader is None:
            return []
        return [host for host in self.hosts if host.id in leader.core.configuration.ids]

    def is_whole(self) -> bool:
        leader = self.leader()
        return leader is not None and self.autopilots.is_content(leader)

    def is_alike(self) -> bool:
        """Say whether all members have applied everything that is committed anywhere."""
        last = max((host.core.commit for host in self.hosts if host.core is not None), default=0)
        members = self.members()
        return bool(members) and all(
            host.core is not None and host.machine.index >= last and host.core.log.last == last
            for host in members
        )

    def standing(self) -> str:
        return "; ".join(
            f"{host.name} term {host.core.term} log {host.core.log.first}..{host.core.log.last} commit"
            f" {host.core.commit} applied {host.machine.index}{' leads' if host.core.leads else ''}"
            if host.core is not None
            else f"{host.name} is down {host.stopped}"
            for host in self.hosts
        )


def judge(
    seed: int, *, tell: Callable[[str], None] | None = None, plan: Plan | None = None, **given: object
) -> Verdict:
    """Run the world of `seed`; what it is like is drawn from the seed, but for what is `given`."""
    plan = plan or Plan.drawn(Random(f"plan {seed}"), **given)
    with tempfile.TemporaryDirectory(prefix="hamgr-consensus-") as folder, small_pieces():
        world = World(seed, Path(folder), plan, tell=tell)
        law = how = ""
        who: tuple[str, ...] = ()
        try:
            world.run()
        except Broken as broken:
            law, how, who = broken.law, broken.how, broken.who
        except Exception as error:  # noqa: BLE001 - whatever the product raises unasked is a broken law
            law = UNASKED
            how = "".join(traceback.format_exception(error)[-3:]).strip()
        finally:
            world.close()
        return Verdict(
            seed=seed,
            law=law,
            how=how,
            step=world.schedule.steps,
            last=tuple(world.trail.last(*who)) if law else (),
            figures=world.figures,
            trace=world.trace,
        )


@contextmanager
def small_pieces() -> Iterator[None]:
    """Have snapshots and logs travel in many messages, as large ones do."""
    with (
        mock.patch.object(snapshots, "PIECE_BYTES", 3_000),
        mock.patch.object(replication, "BATCH_BYTES", 1_000),
    ):
        yield

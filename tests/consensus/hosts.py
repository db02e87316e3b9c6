"""Computers on which a replica runs, freezes, crashes, loses power, and is started again.

1. A turn is what the product's engine does: take what has come, `advance`, `settle`, compact.
2. A turn happens at once in the simulation and takes time all the same: while a disk works, or the process is
   frozen in the middle, its own clock goes on, what it says leaves later, and it hears nothing. The others go
   on meanwhile.
3. A process that is killed leaves in its files what it had written; a host that loses power leaves what the
   disk makes of it.
4. Each host's clock has its own beginning, and is a little fast or slow.
"""

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from hamgr.raft.core.core import Core
from hamgr.raft.freshness import Freshness
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import Configuration, Member
from hamgr.raft.protocol.messages import BadMessage
from hamgr.raft.store.folder import Folder, SnapshotDamaged
from hamgr.raft.store.journal import LogBroken
from hamgr.raft.store.storage import DiskFailed
from tests.consensus.disk import Disk
from tests.consensus.evidence import JournalReader
from tests.consensus.laws import Laws
from tests.consensus.library import lent_to
from tests.consensus.machine import Machine
from tests.consensus.network import Network
from tests.consensus.schedule import Schedule
from tests.consensus.trail import Trail
from tests.hamgr.raft.bad_disk import PowerCut

TIMER_S_MAX = (0.01, 0.1)
"""A host looks around so often, if its core does not want to before."""
WAKE_S = 0.00005
TURN_S = 0.00005
MESSAGE_S = 0.00001
FAIL_STOPS = (DiskFailed, LogBroken, SnapshotDamaged)


class Host:
    """One computer; `core` and `machine` are there while its replica runs.

    Attributes:
        life: Raised by each start.
        wanted: Whom the replica dials and accepts.
        answers: The host's kernel is up.
        frozen_until: The process does nothing until then.
        local: The time at which this host's turn is; never behind the schedule.
        unknown: What commands hold that the version installed here does not know; None when it is the last.
        stopped: Why the replica stopped by itself; empty when it did not.
    """

    def __init__(
        self,
        member: Member,
        folder: Path,
        seed: str,
        *,
        timers: Any,
        schedule: Schedule,
        network: Network,
        laws: Laws,
        trail: Trail,
        fell: Callable[["Host"], None],
        compact_every: int,
        trailing_entries: int,
    ) -> None:
        """Make an empty computer; `fell` is called when its replica ended in the middle of its work."""
        self.member, self.id, self.name = member, member.id, member.name
        self.random = Random(f"{seed}/{self.name}")
        self.disk = Disk(folder / f"{self.name}-attic", self.random, self._spend)
        self.data_dir = folder / self.name
        self.reader = JournalReader(self.disk, self.data_dir / "journal")
        self.core: Core | None = None
        self.machine: Any = None
        self.initial = Configuration()
        self.life = 0
        self.wanted: frozenset[str] = frozenset()
        self.answers = True
        self.unknown: bytes | None = None
        self.stopped = ""
        self.frozen_until = 0.0
        self.local = 0.0
        self._folder: Folder | None = None
        self._timers = timers
        self._schedule, self._network, self._laws, self._trail = schedule, network, laws, trail
        self._fell = fell
        self._compact_every, self._trailing_entries = compact_every, trailing_entries
        self._inbox: deque[Callable[[Core], None]] = deque()
        self._turn_at = float("inf")
        self._turns = 0
        self._freeze: tuple[int, float] | None = None
        self._timer_s_max = self.random.choice(TIMER_S_MAX)
        self._draw_clock()

    @property
    def alive(self) -> bool:
        return self.core is not None

    # The life of a process.

    def start(self) -> bool:
        """Start the replica; False when it lost power, or was killed, while it started."""
        assert self.core is None
        self.answers, self.stopped = True, ""
        self.life += 1
        self.local = self._schedule.now
        self._inbox.clear()
        self.reader.forget()
        self._trail.note(self.name, "starts")
        try:
            self._boot()
        except PowerCut:
            self._fall()
            return False
        except (CannotStart, *FAIL_STOPS) as error:
            self._stop_by_itself(error)
            return False
        self._network.started(self)
        self._turn_after(self.local - self._schedule.now)
        return True

    def _boot(self) -> None:
        self._laws.started(self.name)
        self._folder = Folder(self.data_dir, self.disk)
        journal = self._folder.settle()
        self.machine = Machine(
            self.name, self._laws, self._folder, compact_every=self._compact_every, unknown=self.unknown
        )
        self.freshness = Freshness(self._clock)
        with lent_to(self._clock, lambda: self.local, self.random):
            self.core = Core(
                me=self.id,
                timers=self._timers,
                quorum_lost_s=self._timers.quorum_lost_s,
                journal=journal,
                folder=self._folder,
                initial=self.initial,
                network=_Wire(self, self.life),
                machine=self.machine,
                clock=self._clock,
                randomness=self.random,
                trailing_entries=self._trailing_entries,
            )
            self._laws.looked_at(self)

    def _fall(self) -> None:
        """End in the middle of a write: the process is killed, or power is lost."""
        if self.random.random() < 0.5:
            self.kill()
        else:
            self.lose_power()

    def kill(self) -> None:
        """End the process: SIGKILL."""
        self._trail.note(self.name, "is killed")
        self._end(kernel_too=False)

    def stop(self) -> None:
        """End the process as the product does when it is told to: SIGTERM."""
        self._trail.note(self.name, "stops")
        if self.core is not None and not self.disk.full_or_broken and self.disk.fuse is None:
            self.core.conclude()
        self._end(kernel_too=False)

    def lose_power(self) -> None:
        self._trail.note(self.name, "loses power")
        self._end(kernel_too=True)
        if self.data_dir.exists():
            self.disk.lose_power(self.data_dir)
        self.reader.forget()
        self._draw_clock()

    def _end(self, *, kernel_too: bool) -> None:
        self.answers = not kernel_too
        if self.core is not None:
            core, self.core = self.core, None
            core.close()
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        self.disk.fuse = None
        self.machine = None
        self._turn_at = float("inf")
        self._turns += 1
        self._freeze = None
        self.frozen_until = 0.0
        self._inbox.clear()
        self._network.died(self, kernel_too=kernel_too)

    def freeze(self, for_s: float, *, points: int = 0) -> None:
        """Have the process do nothing for a while, from somewhere in its next turns on, or the next (1)."""
        self._freeze = points or self.random.randint(1, 8), for_s

    def thaw(self) -> None:
        """Let a freeze that has not begun be forgotten."""
        self._freeze = None

    def _maybe_freeze(self) -> None:
        """Lose time here, if it was to be so; not in the midst of a loop, whose order may be any."""
        if self._freeze is None:
            return
        points, for_s = self._freeze
        self._freeze = (points - 1, for_s) if points > 1 else None
        if self._freeze is None:
            self._trail.note(self.name, "is frozen for", for_s)
            self.local += for_s
            self.frozen_until = self.local
            self._network.froze(self, for_s=for_s)

    def _draw_clock(self) -> None:
        self._clock_offset = self.random.uniform(0.0, 1e6)
        self._clock_rate = self.random.uniform(0.998, 1.002)

    def _clock(self) -> float:
        return self._clock_offset + self.local * self._clock_rate

    def _spend(self, seconds: float) -> None:
        self.local += seconds
        self._maybe_freeze()

    # What reaches the process from outside.

    def receive(self, sender: str, data: bytes) -> None:
        self._do(lambda core: core.receive(sender, msgpack.unpackb(data)))

    def link_up(self, peer: str) -> None:
        self._do(lambda core: core.peer_up(peer))

    def link_down(self, peer: str, *, refused: bool) -> None:
        self._do(lambda core: core.peer_down(peer, refused=refused))

    def call(self, work: Callable[["Host", Core, Machine], None]) -> None:
        """Have `work` done in the next turn; never, if the process ends before."""
        self._do(lambda core: work(self, core, self.machine))

    def later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have something outside happen at this host's present moment; not if it dies before."""
        self._schedule.at(self.local, call, *arguments)

    def _do(self, work: Callable[[Core], None]) -> None:
        if self.core is not None:
            self._inbox.append(work)
            self._turn_after(WAKE_S)

    # Turns.

    def _turn_after(self, delay_s: float) -> None:
        when = max(self._schedule.now + delay_s, self.local)
        if when < self._turn_at:
            self._turn_at = when
            self._turns += 1
            self._schedule.at(when, self._turn, self._turns)

    def _turn(self, number: int) -> None:
        if number != self._turns or self.core is None:
            return
        self._turn_at = float("inf")
        self.local = self._schedule.now
        try:
            with lent_to(self._clock, lambda: self.local, self.random):
                more = self._work(self.core)
                pause_s = 0.0 if more else min(self.core.next_at() - self._clock(), self._timer_s_max)
            self._turn_after(self.local - self._schedule.now + max(pause_s, WAKE_S))
        except PowerCut:
            self._fall()
            self._fell(self)
        except BadMessage as error:
            self._laws.break_("no replica sends what another one must refuse", str(error), self.name)
        except FAIL_STOPS as error:
            self._stop_by_itself(error)

    def _work(self, core: Core) -> bool:
        """Do what the engine does in one turn; True when there is more to do."""
        self.local += TURN_S + MESSAGE_S * len(self._inbox)
        for _ in range(len(self._inbox)):
            self._inbox.popleft()(core)
        self._maybe_freeze()
        core.advance()
        self._maybe_freeze()
        more = core.settle()
        if self.machine.stuck_at and not core.renounced:
            core.renounce("it does not know a command")
        self._laws.looked_at(self)
        self.freshness.look(core)
        age_s = self.freshness.age_s
        if age_s is not None:
            since = self.local - age_s / self._clock_rate
            self._laws.told_age(self.name, self.machine.index, since=since)
        self.machine.compactor.advance(core)
        return more

    def _stop_by_itself(self, error: Exception) -> None:
        self._trail.note(self.name, "stops by itself:", str(error))
        self.stopped = str(error) or type(error).__name__
        if self.disk.failed:
            self._laws.stopped_by_its_disk()
        else:
            self._laws.break_("a replica stops only when its disk failed", self.stopped, self.name)
        self._end(kernel_too=False)
        # The system drops what it could not write, and reads back what the disk has.
        self.disk.lose_power(self.data_dir)
        self.reader.forget()
        self._fell(self)


class _Wire:
    """One life's way to the others; a `hamgr.raft.core.core.Network`."""

    def __init__(self, host: Host, life: int) -> None:
        self._host = host
        self._life = life

    def send(self, to: str, message: Mapping[str, Any]) -> None:
        host = self._host
        host._laws.leaves(host, to, message)
        host._network.send(host.id, to, message, at=host.local)

    def reconcile(self, members: Mapping[str, Member]) -> None:
        host = self._host
        if host.life == self._life:
            host.wanted = frozenset(members)
            host._schedule.after(0.0, host._network.dial, host.id)

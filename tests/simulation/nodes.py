"""Machines that remember what was really done to them, apart from what they were told to remember.

1. The evidence is written where the work would happen, and only grows; nothing that the fake's own rules do
   (fences, adoption, forgetting) can touch it. So a broken rule shows.
2. A machine is really configured with a component when every step of one verb of one job for one bundle
   passed on it, and nothing touched the component since; a verify step passes exactly then, fate aside.
3. A look may come at any time, from anybody, and again and again; it must be for what only looks.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from backends.memory.node import KILLED, MemoryNode
from backends.ports import AttemptKey, AttemptStatus, NodeBusy, StaleEpoch
from statemachine.manifest import Manifest
from statemachine.words import Digest, Verb
from tests.simulation.figures import RARE
from tests.simulation.orders import Nature, Order, read

SENDER: ContextVar[str] = ContextVar("SENDER", default="")
"""Whose order this is: a replica and which of its lives; travels with the call, and nobody obeys it."""
BY_ITSELF, KILLED_ON_NODE, LOST = "by itself", "killed", "lost"


@dataclass(slots=True, kw_only=True)
class Launch:
    """One launch that really happened."""

    key: AttemptKey
    epoch: int
    order: Order
    at: float
    ends_at: float
    exit_code: int
    end: str = BY_ITSELF

    def passed(self, now: float) -> bool:
        return self.end == BY_ITSELF and self.exit_code == 0 and self.ends_at <= now


@dataclass(slots=True, kw_only=True)
class _Component:
    """What a component on a machine is made of: the work of one verb of one job for one bundle."""

    job: str
    verb: str
    bundle: str
    done: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Fate:
    """What decides how the steps go on the machines of a world."""

    nature: Callable[[str, Order], Nature]
    manifest: Callable[[str], Manifest]
    launched: Callable[["Machine", Launch, Nature], None]
    count: Callable[[str], None]
    broken: Callable[[str], None]


@dataclass(eq=False)
class Machine(MemoryNode):
    """A node in memory with evidence and a body."""

    fate: Fate = None  # type: ignore[assignment] # a dataclass's later fields need a default; always given
    evidence: list[Launch] = field(default_factory=list)
    epoch_obeyed: int = 0
    """The highest epoch of any order that was obeyed."""
    senders: dict[int, str] = field(default_factory=dict)
    """Who used each epoch."""
    gone: bool = False
    """Never comes back."""
    _components: dict[str, _Component] = field(default_factory=dict)
    _looks: Counter[Order] = field(default_factory=Counter)
    _saw: dict[tuple[AttemptKey, int], float] = field(default_factory=dict)
    _settled: int = 0
    _order: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.behaviour = self._launch
        self.sight = self._see

    def fence(self, epoch: int, *, job: str, now: float) -> None:
        with _Obeying(self, epoch):
            super().fence(epoch, job=job, now=now)

    def start(self, epoch: int, key: AttemptKey, script: bytes, *, now: float) -> bool:
        self._order = (epoch, now)
        with _Obeying(self, epoch):
            return super().start(epoch, key, script, now=now)

    def kill(self, epoch: int, key: AttemptKey, *, now: float) -> AttemptStatus:
        with _Obeying(self, epoch):
            answer = super().kill(epoch, key, now=now)
        for launch in self.evidence:
            if launch.key == key and launch.ends_at > now:
                launch.end, launch.ends_at, launch.exit_code = KILLED_ON_NODE, now, KILLED
        return answer

    def restart(self, *, now: float) -> None:
        super().restart(now=now)
        for launch in self.evidence:
            if launch.ends_at > now:
                launch.end, launch.ends_at = LOST, now

    def find(self, key: AttemptKey) -> Launch | None:
        """Return the evidence of an attempt."""
        return next((launch for launch in self.evidence if launch.key == key), None)

    def saw(self, key: AttemptKey, exit_code: int | None, *, now: float) -> bool:
        """Return whether a look for an attempt really ended so."""
        return exit_code is not None and self._saw.get((key, exit_code), now + 1.0) <= now

    def configured(self, component: str, bundle: Digest, manifest: Manifest, *, now: float) -> bool:
        """Return whether `component` is really there as `bundle` wants it."""
        self._settle(now)
        found = self._components.get(component)
        if found is None or found.bundle != bundle or found.verb == Verb.CLEANUP:
            return False
        steps = manifest.components[component].verbs[Verb(found.verb)]
        return {step.name for step in steps} <= found.done

    def _launch(self, key: AttemptKey, script: bytes) -> tuple[float, int, bytes]:
        epoch, now = self._order
        order = read(script)
        self._settle(now)
        self._accuse(epoch, key, now)
        nature = self.fate.nature(self.machine_id, order)
        earlier = self._earlier(order)
        exit_code = 1 if earlier < nature.fails else self._natural_exit(order, key, now)
        launch = Launch(
            key=key, epoch=epoch, order=order, at=now, ends_at=now + nature.lasts_s, exit_code=exit_code
        )
        if order.works:
            self._touch(order, key.job)
        self.evidence.append(launch)
        self.fate.launched(
            self, launch, nature if earlier == 0 else Nature(fails=0, lasts_s=0, reboots=False)
        )
        said = f"{order.step} on {self.name}\nhamgr: {'changed' if order.works else 'unchanged'}\n"
        return nature.lasts_s, exit_code, said.encode()

    def _earlier(self, order: Order) -> int:
        return self._looks[order] + sum(1 for launch in self.evidence if launch.order == order)

    def _see(self, script: bytes) -> tuple[float, int, bytes]:
        named, _, script = script.partition(b"\n")
        order, now = read(script), asyncio.get_running_loop().time()
        if order.works:
            self.fate.broken(f"{self.name}: a look was to do {order.step}")
        self._settle(now)
        nature = self.fate.nature(self.machine_id, order)
        words = dict(word.split("=") for word in named.decode().split(" ")[1:])
        key = AttemptKey(
            job=words["HAMGR_JOB"], step=words["HAMGR_STEP"], attempt=int(words["HAMGR_ATTEMPT"])
        )
        exit_code = 1 if self._earlier(order) < nature.fails else self._natural_exit(order, key, now)
        self._saw.setdefault((key, exit_code), now + nature.lasts_s)
        self._looks[order] += 1
        self.fate.count("check made by a look")
        return nature.lasts_s, exit_code, f"{order.step} on {self.name}\nhamgr: unchanged\n".encode()

    def _accuse(self, epoch: int, key: AttemptKey, now: float) -> None:
        named = f"{self.name}: {key.job}/{key.step}/{key.attempt} under epoch {epoch}"
        if epoch < self.epoch_obeyed:
            self.fate.broken(f"{named} was launched after epoch {self.epoch_obeyed} was obeyed")
        for launch in self.evidence:
            other = f"{launch.key.job}/{launch.key.step}/{launch.key.attempt}"
            if launch.key == key:
                self.fate.broken(f"{named} was launched twice")
            if launch.ends_at > now:
                self.fate.broken(f"{named} was launched while {other} runs")
            if (launch.key.job, launch.key.step) == (key.job, key.step) and launch.passed(now):
                self.fate.broken(f"{named} was launched although {other} had passed")

    def _natural_exit(self, order: Order, key: AttemptKey, now: float) -> int:
        if order.checking:
            work = key.step.removesuffix(".check")
            whole = (
                one.key.job == key.job and one.key.step == work for one in self.evidence if one.passed(now)
            )
            return 0 if any(whole) else 1
        if order.check:
            manifest = self.fate.manifest(order.bundle)
            return 0 if self.configured(order.component, Digest(order.bundle), manifest, now=now) else 1
        return 0

    def _touch(self, order: Order, job: str) -> None:
        found = self._components.get(order.component)
        if found is None or (found.job, found.verb, found.bundle) != (job, order.verb, order.bundle):
            self._components[order.component] = _Component(job=job, verb=order.verb, bundle=order.bundle)
        else:
            found.done.discard(order.step)

    def _settle(self, now: float) -> None:
        """Let the work that has ended by now have its effect."""
        while self._settled < len(self.evidence) and self.evidence[self._settled].ends_at <= now:
            launch = self.evidence[self._settled]
            found = self._components.get(launch.order.component)
            order = launch.order
            made_of = (found.job, found.verb, found.bundle) if found is not None else None
            same = made_of == (launch.key.job, order.verb, order.bundle)
            if found and same and order.works and launch.passed(now):
                found.done.add(order.step)
            self._settled += 1


class _Obeying:
    """Note which epochs a machine obeys and which it refuses."""

    def __init__(self, machine: Machine, epoch: int) -> None:
        self._machine, self._epoch = machine, epoch

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StaleEpoch):
            self._machine.fate.count("ex-leader refused by a node")
            return
        if isinstance(error, NodeBusy):
            self._machine.fate.count(RARE)
        self._machine.epoch_obeyed = max(self._machine.epoch_obeyed, self._epoch)
        first = self._machine.senders.setdefault(self._epoch, SENDER.get())
        if first != SENDER.get():
            self._machine.fate.broken(
                f"{self._machine.name}: epoch {self._epoch} was used by {first} and by {SENDER.get()}"
            )

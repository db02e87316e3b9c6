"""Holds the address while this replica leads, on a thread of its own, so that no busy event loop delays it.

Each turn reads the leader's contact, asks `lease` what is to be done, and does it. Whatever goes wrong is
kept as `trouble`, told once, and tried again; consensus and the API never wait for it.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hamgr.raft.contact import Contact
from hamgr.vip import addresses
from hamgr.vip.addresses import CannotHold
from hamgr.vip.ether import Ether
from hamgr.vip.lease import Conflict, Step, Tenure
from hamgr.vip.leash import Leash, WatchdogGone
from hamgr.vip.moves import Move
from hamgr.vip.packets import IP, Claim
from hamgr.vip.settings import VIPSection

log = logging.getLogger(__name__)

LOOK_S = 0.01
"""How soon a new leader notices that it is one; a look costs some microseconds."""
ASK_AGAIN_S = 0.03
GUARD_S = 0.5
"""How often the watchdog is looked after."""
ANNOUNCE_S = (0.0, 0.1, 0.3, 1.0, 3.0)
ANNOUNCE_SLOWLY_S = 30.0
CONTEST_S, CONTEST_EVERY_S = 3.0, 0.1
"""While the kernel of a former holder may still answer, we say more often who has the address."""
PAUSE_S_MAX = 10.0
NEWS_MAX = 20


@dataclass(frozen=True, slots=True)
class News:
    """One change, for people."""

    at: float
    what: str


class Holder:
    """Runs from `start` to `stop`; all else may be called from any thread."""

    def __init__(
        self,
        settings: VIPSection,
        *,
        contact: Callable[[], Contact | None],
        replicas: Callable[[], Mapping[IP, str]],
        election_s_min: float,
    ) -> None:
        """Prepare only.

        Args:
            contact: How this replica leads, if it does.
            replicas: Names of the other replicas, by their addresses.
        """
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self.news: deque[News] = deque(maxlen=NEWS_MAX)
        self.trouble = ""
        self.leash = Leash()
        self.tenure = Tenure(election_s_min=election_s_min)
        self.since: float | None = None
        self.move: Move | None = None
        self._taken_in: int | None = None
        self._contact, self._replicas = contact, replicas
        self._ips = tuple(address.ip for address in settings.interfaces)
        self._ether: Ether | None = None
        self._told_of: set[Conflict] = set()
        self._until = 0.0
        self._asked_at = self._guard_at = float("-inf")
        self._taken_at = 0.0
        self._announce_at = float("inf")
        self._announced = 0
        self._contested_until = float("-inf")
        self._paused_until = float("-inf")
        self._stopping = self._led = False
        self._free = threading.Condition()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="vip", daemon=True)

    @property
    def holds(self) -> bool:
        """The address is here, and its lease is not over."""
        return self.tenure.held and time.monotonic() < self._until

    @property
    def lease_left_s(self) -> float:
        return max(0.0, self._until - time.monotonic()) if self.tenure.held else 0.0

    def start(self) -> None:
        """Begin; without privileges or interface, say so and hold nothing."""
        if missing := addresses.missing_privileges():
            self.trouble = (
                f"the virtual address is off: hamgrd lacks {' and '.join(missing)}; give them to its unit "
                "(AmbientCapabilities=), or remove `vip` from the configuration"
            )
            log.warning("%s", self.trouble)
            return
        self._thread.start()

    def stop(self) -> None:
        """Let the address go, and end; it is gone when this returns."""
        self._stopping = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self.leash.close()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def pause(self, for_s: float) -> None:
        """Let the address go, and hold none for a while; it is gone when this returns."""
        self._paused_until = time.monotonic() + min(for_s, PAUSE_S_MAX)
        if not self._thread.is_alive():
            return
        self._wake()
        with self._free:
            self._free.wait_for(lambda: not self.tenure.held, timeout=for_s)

    def resume(self) -> None:
        """Hold it again, if this replica leads."""
        self._paused_until = float("-inf")
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        try:
            addresses.link(self.settings.interface)  # who could not hold the address says so at once
        except (CannotHold, OSError) as error:
            self._failed(str(error))
        while not self._stopping:
            try:
                self._guard(time.monotonic())
                self._turn(time.monotonic())
            except (CannotHold, WatchdogGone, OSError) as error:
                self._failed(str(error))
            except Exception as error:  # a supervisor: what nobody thought of must not end the thread
                log.exception("the virtual address met a bug")
                self._failed(f"a bug: {type(error).__name__}: {error}; hamgrd's log tells more")
            if select.select([self._wake_read], [], [], LOOK_S)[0]:
                os.read(self._wake_read, 4096)
        try:
            self._drop("this replica stops")
        except WatchdogGone as error:
            self._failed(str(error))
        self._shut()

    def _guard(self, now: float) -> None:
        """See that a watchdog waits: a new leader has no time to start one."""
        if now < self._guard_at:
            return
        self._guard_at = now + GUARD_S
        if self.leash.pid is None:
            if self.tenure.held:
                raise WatchdogGone("the watchdog has ended")
            self.leash.start()

    def _turn(self, now: float) -> None:
        contact = self._contact() if now >= self._paused_until else None
        if contact is None and self._led:
            self.trouble = ""  # whoever leads now has troubles of its own
        self._led = contact is not None
        step = self.tenure.step(now, contact)
        if step is Step.NOTHING and self._ether is None:
            return
        if step is Step.NOTHING:
            self._shut()
        elif step is Step.DROP:
            paused = now < self._paused_until
            why = "leadership is handed over" if paused else "this replica no longer leads"
            self._drop(why if contact is None else "no majority was heard of")
        elif contact is not None:
            self._act(step, now, contact)

    def _act(self, step: Step, now: float, contact: Contact) -> None:
        if step is Step.ASK:
            self._told_of.clear()
            self._shut()
            self._ether = Ether(addresses.link(self.settings.interface), self._ips)
        ether = self._ether
        if ether is None:
            raise CannotHold("the interface was lost")
        for claim in ether.claims():
            self._answered(now, claim)
        if step in (Step.ASK, Step.LISTEN) and now >= self._asked_at + ASK_AGAIN_S:
            self._asked_at = now
            ether.ask()
        elif step is Step.TAKE and self.tenure.step(now, contact) is Step.TAKE:  # nobody answered since
            self._take(now, contact)
        elif step is Step.RENEW:
            self._until = self.tenure.until(contact)
            if not self.leash.renew(self._until):
                self._gone("its lease was over")
                return
        if self.tenure.held and now >= self._announce_at and self.holds:
            self._announce(now, ether)

    def _take(self, now: float, contact: Contact) -> None:
        found = addresses.link(self.settings.interface)
        own = addresses.own_addresses(found)
        adding, removing = addresses.take_and_drop(self.settings.interfaces, found, own=own)
        until = self.tenure.until(contact)
        error = self.leash.take(until, adding, removing)
        if error:
            raise CannotHold(f"the kernel refuses the address on {found.name}: {os.strerror(error)}")
        if error is None:
            self.tenure.lost()
            return
        self._until = until
        self.tenure.taken()
        self.trouble, self.since = "", time.time()
        self.counts["takes"] += 1
        self._taken_at, self._announced, self._announce_at = now, 0, now
        self._contested_until = now + CONTEST_S if self.tenure.conflict else float("-inf")
        self._tell(f"the address is here: {', '.join(self.settings.addresses)} on {found.name}")
        why = "leadership was handed over to it" if contact.handed_over else "it was elected"
        if contact.term == self._taken_in and self.move is not None:
            why = f"it had let it go, since {self.move.why}"
        self._taken_in = contact.term
        self._moved(why, held=True)

    def _announce(self, now: float, ether: Ether) -> None:
        ether.announce()
        self._announced += 1
        after_s = ANNOUNCE_S[self._announced] if self._announced < len(ANNOUNCE_S) else None
        self._announce_at = now + ANNOUNCE_SLOWLY_S if after_s is None else self._taken_at + after_s
        if now < self._contested_until:
            self._announce_at = min(self._announce_at, now + CONTEST_EVERY_S)

    def _answered(self, now: float, claim: Claim) -> None:
        known = addresses.neighbours(self._replicas())
        owner = known.get(claim.mac)
        conflict = Conflict(
            str(claim.ip), claim.mac, "" if owner is None else self._replicas().get(owner, "")
        )
        news = conflict not in self._told_of
        self._told_of.add(conflict)
        self.tenure.answered(now, conflict)
        if self.tenure.held:
            self._contested_until = now + CONTEST_S
            self._announce_at = min(self._announce_at, now + CONTEST_EVERY_S)
        if news:
            self.counts["conflicts"] += 1
            if not conflict.whose and not self.tenure.held:
                self.trouble = conflict.sentence
            self._tell(conflict.sentence, logging.WARNING)

    def _drop(self, why: str) -> None:
        if self.tenure.held:
            self.leash.drop()
            self._gone(why)

    def _gone(self, why: str) -> None:
        self.counts["drops"] += 1
        with self._free:
            self.tenure.lost()
            self.since = None
            self._free.notify_all()
        self._tell(f"the address is let go: {why}")
        self._moved(why, held=False)
        self._shut()

    def _moved(self, why: str, *, held: bool) -> None:
        number = 1 if self.move is None else self.move.number + 1
        self.move = Move(number=number, at=time.monotonic(), held=held, why=why)

    def _failed(self, why: str) -> None:
        """Note an error; the watchdog, or the kernel when it is gone, has removed the address."""
        self.leash.close()
        self._guard_at = float("-inf")
        if self.tenure.held:
            self._gone(why)
        self.tenure.refused(time.monotonic())
        if why != self.trouble:
            self.trouble = why
            self._tell(why, logging.WARNING)

    def _shut(self) -> None:
        ether, self._ether = self._ether, None
        if ether is not None:
            ether.close()

    def _tell(self, what: str, level: int = logging.INFO) -> None:
        self.news.append(News(time.time(), what))
        log.log(level, "vip: %s", what)

"""What carries messages between replicas: connections in one direction each, as TCP would carry them.

1. A connection keeps its order. What is under way when it breaks is lost; nothing of an old connection
   arrives after a new one was made.
2. A one-way block holds back what is sent that way. TCP tries again, so it arrives late but in order when the
   block ends soon; if not, both directions break, since acknowledgements went that way too.
3. A dead process is known at once (its host refuses connections), a dead host only by its silence.
4. A duplicate stands for a broken sender: TLS would not let anybody else make one.
5. Each link draws from a source of its own, so that the order in which a replica tells its peers something,
   which depends on the interpreter's hash seed, changes nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgpack

from tests.consensus.schedule import Schedule

SILENT_S_MAX = 1.0
"""A connection whose other end acknowledges nothing for so long is closed."""
REDIAL_S = (0.02, 0.2)
RETRANSMIT_S = (0.001, 0.1)
REFUSED_SOON_S = 0.001


@dataclass(slots=True, kw_only=True)
class Weather:
    """How bad the way is."""

    delay_s: float = 0.0002
    jitter_s: float = 0.0005
    duplicate: float = 0.0
    """The share of messages that a broken sender sends again, at once or up to a second later."""


class End(Protocol):
    """What the network has to know of a host."""

    id: str
    name: str
    wanted: frozenset[str]
    """Whom the replica dials, and from whom it accepts."""
    answers: bool
    """The host's kernel is up."""
    alive: bool
    """And so is the replica's process."""
    life: int
    frozen_until: float

    def receive(self, sender: str, data: bytes) -> None: ...
    def link_up(self, peer: str) -> None: ...
    def link_down(self, peer: str, *, refused: bool) -> None: ...


class Link:
    """One direction between two hosts, with at most one connection."""

    def __init__(self, source: End, target: End, random: Random) -> None:
        self.source = source
        self.target = target
        self.random = random
        self.number = 0
        """Of the connection; what belongs to an earlier one is void."""
        self.open = False
        self.dialling = 0
        """The source's life that tries to connect."""
        self.blocked = 0
        """How many causes hold it back."""
        self.stalled_until = 0.0
        self.last_arrival = 0.0
        self.under_way: deque[tuple[float, bytes]] = deque()


class Network:
    """All links between the hosts."""

    def __init__(self, schedule: Schedule, seed: str, carried: Callable[[Link, bytes], None]) -> None:
        self.weather = Weather()
        self._schedule = schedule
        self._seed = seed
        self._carried = carried
        self._ends: dict[str, End] = {}
        self._links: dict[tuple[str, str], Link] = {}

    def attach(self, host: End) -> None:
        for other in self._ends.values():
            for source, target in ((host, other), (other, host)):
                random = Random(f"{self._seed}/{source.name}{target.name}")
                self._links[source.id, target.id] = Link(source, target, random)
        self._ends[host.id] = host

    def link(self, source: str, target: str) -> Link:
        return self._links[source, target]

    def links(self) -> Iterator[Link]:
        return iter(self._links.values())

    # What replicas do.

    def send(self, source: str, target: str, message: Mapping[str, Any], *, at: float) -> None:
        """Carry `message`, which leaves at `at`; it is lost when there is no connection."""
        link = self._links.get((source, target))
        if link is None or not link.open:
            return
        data = msgpack.packb(message)
        self._put(link, data, at)
        if link.random.random() < self.weather.duplicate:
            again = at if link.random.random() < 0.5 else at + link.random.random()
            self._schedule.at(again, self._repeat, link, link.number, data)

    def _repeat(self, link: Link, number: int, data: bytes) -> None:
        if link.open and link.number == number:
            self._put(link, data, self._schedule.now)

    def _put(self, link: Link, data: bytes, at: float) -> None:
        delay_s = self.weather.delay_s + link.random.random() * self.weather.jitter_s
        arrival = max(at + delay_s, link.last_arrival, link.stalled_until)
        link.last_arrival = arrival
        link.under_way.append((arrival, data))
        self._schedule.at(arrival, self._arrive, link, link.number)

    def dial(self, source: str) -> None:
        """Connect `source` to whoever it wants, and close what it, or they, want no more."""
        host = self._ends[source]
        for link in self._links.values():
            if link.source is host:
                if link.target.id not in host.wanted:
                    self._close(link)
                elif not link.open and link.dialling != host.life:
                    self._dial(link, 0.0)
            elif link.target is host and link.open and link.source.id not in host.wanted:
                self._break(link, refused=False)

    def _dial(self, link: Link, delay_s: float) -> None:
        link.dialling = link.source.life
        self._schedule.after(delay_s, self._connect, link, link.dialling)

    def _connect(self, link: Link, life: int) -> None:
        source, target = link.source, link.target
        if source.life != life or not source.alive:
            return
        if link.open or target.id not in source.wanted:
            link.dialling = 0
            return
        if self._is_blocked(link) or not target.answers or target.frozen_until > self._schedule.now:
            self._again(link)
        elif not target.alive:
            source.link_down(target.id, refused=True)
            self._again(link)
        elif source.id not in target.wanted:
            self._again(link)
        else:
            link.open, link.dialling = True, 0
            link.number += 1
            link.under_way.clear()
            link.last_arrival = self._schedule.now
            source.link_up(target.id)

    def _again(self, link: Link) -> None:
        self._dial(link, link.random.uniform(*REDIAL_S))

    def _is_blocked(self, link: Link) -> bool:
        return bool(link.blocked or self._links[link.target.id, link.source.id].blocked)

    # What happens to connections.

    def _arrive(self, link: Link, number: int) -> None:
        if link.number != number:
            return
        while link.under_way and not link.blocked and link.under_way[0][0] <= self._schedule.now:
            _arrival, data = link.under_way.popleft()
            if link.target.alive and link.source.id in link.target.wanted:
                self._carried(link, data)
                link.target.receive(link.source.id, data)

    def block(self, source: str, target: str) -> None:
        """Hold back what goes one way; undone by as many calls of `unblock`."""
        link = self._links[source, target]
        link.blocked += 1
        if link.blocked == 1:
            silent_s = SILENT_S_MAX * link.random.uniform(0.8, 1.2)
            back = self._links[target, source]
            self._schedule.after(silent_s, self._silent, link, link.number, back, back.number)

    def _silent(self, link: Link, number: int, back: Link, back_number: int) -> None:
        if link.blocked:
            for one, its_number in ((link, number), (back, back_number)):
                if one.number == its_number:
                    self._break(one, refused=False)

    def unblock(self, source: str, target: str) -> None:
        link = self._links[source, target]
        link.blocked -= 1
        if not link.blocked:
            self._schedule.after(link.random.uniform(*RETRANSMIT_S), self._arrive, link, link.number)

    def stall(self, source: str, target: str, for_s: float) -> None:
        """Let what is sent one way take as long, as when a buffer on the way is full."""
        self._links[source, target].stalled_until = self._schedule.now + for_s

    def _close(self, link: Link) -> None:
        link.open = False
        link.number += 1
        link.under_way.clear()

    def _break(self, link: Link, *, refused: bool) -> None:
        if link.open:
            self._close(link)
            link.source.link_down(link.target.id, refused=refused)
            self._again(link)

    def died(self, host: End, *, kernel_too: bool) -> None:
        """Note that the replica on `host` ended.

        What it sent is still under way, as long as nothing holds it back; what was sent to it is lost.
        """
        for link in self._links.values():
            if link.source is host:
                link.open = False
                if link.blocked:
                    self._close(link)
            elif link.target is host and link.open:
                number = link.number
                link.under_way.clear()
                noticed_s = SILENT_S_MAX if kernel_too else REFUSED_SOON_S
                self._schedule.after(noticed_s, self._noticed, link, number, kernel_too)

    def started(self, host: End) -> None:
        """Note that `host` runs a replica anew: who still believes in an old connection is told otherwise."""
        for link in self._links.values():
            if link.target is host and link.open:
                self._schedule.after(REFUSED_SOON_S, self._noticed, link, link.number, True)

    def froze(self, host: End, *, for_s: float) -> None:
        """Note that `host` does nothing for a while; its kernel goes on, but nobody waits for ever."""
        if for_s > SILENT_S_MAX:
            for link in self._links.values():
                if link.target is host and link.open:
                    self._schedule.after(SILENT_S_MAX, self._break_if, link, link.number)

    def _noticed(self, link: Link, number: int, kernel_too: bool) -> None:
        if link.number == number and link.source.alive:
            if self._is_blocked(link):
                self._schedule.after(SILENT_S_MAX, self._break_if, link, number)
            else:
                self._break(link, refused=not kernel_too)

    def _break_if(self, link: Link, number: int) -> None:
        if link.number == number:
            self._break(link, refused=False)

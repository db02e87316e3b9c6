"""One probe of many nodes from this replica: feel the machine's pulse, or wait for its SSH greeting.

1. A greeting costs no login and no key exchange, but sshd begins a process for it, some 15 ms. So a node that
   has greeted is asked for its pulse only (`pulse`), until `GREET_EVERY_S` have passed or it has none.
2. A greeting is answered with ours before we hang up, so that sshd has a peer with a name in its log.
3. At most `at_once` probes are under way, and at most `per_s_max` are begun in a second.
4. A greeting proves that an SSH server answers there, not which; who returns is asked that by other means.
5. A practice node shares this machine and its processors. It has this machine's pulse, and is there when its
   port takes connections: on a busy machine its greeting may take as long as it likes.
"""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from zlib import crc32

from hamgr.presence.pulse import Pulses
from statemachine.words import NodeName

GREETING = b"SSH-2.0-hamgr_presence\r\n"
PREAMBLE_BYTES_MAX = 8 * 1024
"""A server may say other lines first (RFC 4253 section 4.2)."""
WHY_CHARS_MAX = 120
GREET_EVERY_S = 20.0
"""So long a pulse is enough; up to half more, so that not all nodes have their turn at once."""
PULSE_SHARE = 0.35
"""Of a probe's time; the rest is for a greeting where no pulse was felt."""
NO_PULSE_S = 300.0
"""A node that greets and has no pulse (a firewall) is not asked for one again before that."""
KNOWN_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a node is."""

    name: NodeName
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A place where somebody greeted.

    Attributes:
        greet_at: When the next greeting is due.
        deaf_until: It is asked for no pulse before that.
    """

    greet_at: float
    deaf_until: float


def _is_practice(address: str) -> bool:
    """Say whether an address is one of this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _is_machine(address: str) -> bool:
    """Say whether a pulse at an address is that of a machine of its own: no name, and not this machine."""
    try:
        return not ip_address(address).is_loopback
    except ValueError:
        return False


class Prober:
    """Probes nodes; one for a replica, whoever asks."""

    def __init__(self, *, timeout_s: float, at_once: int, per_s_max: int) -> None:
        self.timeout_s = timeout_s
        self.at_once = at_once
        self._gap_s = 1.0 / per_s_max
        self._slots = asyncio.Semaphore(at_once)
        self._next_s = 0.0
        self._pulses = Pulses()
        self._known: dict[tuple[str, int], _Known] = {}

    def longest_s(self, count: int) -> float:
        """Return how long `count` probes may take when none is answered and nobody else asks."""
        return self.timeout_s * -(-count // self.at_once) + count * self._gap_s

    async def probe(self, targets: Iterable[Target]) -> dict[NodeName, str]:
        """Return those that did not answer, and why."""
        targets = list(targets)
        reasons = await asyncio.gather(*(self._turn(target) for target in targets))
        return {target.name: why for target, why in zip(targets, reasons, strict=True) if why}

    async def _turn(self, target: Target) -> str:
        async with self._slots:
            loop = asyncio.get_running_loop()
            self._next_s = max(self._next_s + self._gap_s, loop.time())
            if (wait_s := self._next_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            return await self._look(target)

    def close(self) -> None:
        """Close what is open."""
        self._pulses.close()

    async def _look(self, target: Target) -> str:
        """Return why nobody answers; empty when somebody does."""
        place = target.address, target.port
        known, now = self._known.get(place), asyncio.get_running_loop().time()
        left_s, deaf_until = self.timeout_s, known.deaf_until if known else 0.0
        if known is not None and now < known.greet_at and _is_practice(target.address):
            return ""
        if known is not None and deaf_until <= now < known.greet_at:
            pulse_s = self.timeout_s * PULSE_SHARE
            if await self._pulses.felt(target.address, timeout_s=pulse_s):
                return ""
            left_s, deaf_until = self.timeout_s - pulse_s, now + NO_PULSE_S
        why = await self._greet(target, left_s)
        if why or not (_is_machine(target.address) or _is_practice(target.address)):
            self._known.pop(place, None)
        elif len(self._known) < KNOWN_MAX:
            greet_at = now + GREET_EVERY_S * (1 + crc32(target.name.encode()) % 64 / 128)
            self._known[place] = _Known(greet_at=greet_at, deaf_until=deaf_until)
        return why

    async def _greet(self, target: Target, timeout_s: float) -> str:
        """Return why there was no greeting; empty when there was one."""
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(timeout_s):
                transport, greeting = await loop.create_connection(_Greeting, target.address, target.port)
                return await greeting.over
        except TimeoutError:
            if transport is not None and _is_practice(target.address):
                return ""
            return f"no {'connection' if transport is None else 'greeting'} within {self.timeout_s:g} s"
        except OSError as error:
            # asyncio's own words have the address, which everybody knows
            number = error.errno or 0  # that of a name that was not found is below 0
            told = os.strerror(number) if number > 0 else str(error) or type(error).__name__
            return told.lower()[:WHY_CHARS_MAX]
        finally:
            if transport is not None:
                transport.close()  # not abort: our greeting is still to go out


class _Greeting(asyncio.Protocol):
    """Waits for a server's first line of SSH."""

    def __init__(self) -> None:
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a connection over TCP is a Transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.startswith(b"SSH-") or b"\nSSH-" in self._data:
            if self._transport is not None:
                self._transport.write(GREETING)
            self._end("")
        elif len(self._data) > PREAMBLE_BYTES_MAX:
            self._end("what answers is no SSH server")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("it hung up without a greeting" if exc is None else str(exc)[:WHY_CHARS_MAX].lower())

    def _end(self, why: str) -> None:
        if not self.over.done():
            self.over.set_result(why)

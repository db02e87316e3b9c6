"""One probe of many nodes from this replica: connect, wait for the SSH greeting, hang up.

1. A probe costs no login and no key exchange. Its greeting is answered with ours before it hangs up, so
   that sshd has a peer with a name in its log rather than an error.
2. At most `at_once` connections are open, and at most `per_s_max` are begun in a second.
3. A greeting proves that an SSH server answers there, not which; who returns is asked that by other means.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from statemachine.words import NodeName

GREETING = b"SSH-2.0-hamgr_presence\r\n"
PREAMBLE_BYTES_MAX = 8 * 1024
"""A server may say other lines first (RFC 4253 section 4.2)."""
WHY_CHARS_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a node is."""

    name: NodeName
    address: str
    port: int


class Prober:
    """Probes nodes; one for a replica, whoever asks."""

    def __init__(self, *, timeout_s: float, at_once: int, per_s_max: int) -> None:
        self.timeout_s = timeout_s
        self.at_once = at_once
        self._gap_s = 1.0 / per_s_max
        self._slots = asyncio.Semaphore(at_once)
        self._next_s = 0.0

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
            return await self._greet(target)

    async def _greet(self, target: Target) -> str:
        """Return why there was no greeting; empty when there was one."""
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self.timeout_s):
                transport, greeting = await loop.create_connection(_Greeting, target.address, target.port)
                return await greeting.over
        except TimeoutError:
            return f"no {'connection' if transport is None else 'greeting'} within {self.timeout_s:g} s"
        except OSError as error:
            return (error.strerror or str(error) or type(error).__name__).lower()[:WHY_CHARS_MAX]
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

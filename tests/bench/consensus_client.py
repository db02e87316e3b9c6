"""A load generator that leaves the processors to the servers: one loop, kept connections, ready requests.

1. Closed loop: every client sends its next request when the answer to the one before is there.
2. An answer that is not a success ends the run with an error that shows it: a fast refusal is no throughput.
3. Who is asked is told apart by address only; nothing here knows which product answers.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import uvloop

T = TypeVar("T")

ANSWER_TIMEOUT_S = 30.0
"""How long after the end of a run the last answers may come."""

Address = tuple[str, int]
Request = Callable[[int], bytes]
"""Makes the request with this number, whole: head and body."""
Ask = Callable[[], bytes | None]
"""Makes the next request; None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients saw in `seconds`: how long each answer took, and how large they were."""

    seconds: float
    latencies_s: Sequence[float]
    client_cpu_s: float
    answer_bytes: int

    @property
    def count(self) -> int:
        return len(self.latencies_s)

    @property
    def per_s(self) -> float:
        return self.count / self.seconds


class Refused(Exception):
    """A server answered with an error; the message shows it."""


class _Client(asyncio.Protocol):
    """One connection; asks until `ask` has no more for it."""

    def __init__(self, ask: Ask, answered: Callable[[float, int], None]) -> None:
        self._ask = ask
        self._answered = answered
        self._buffer = b""
        self._wanted_bytes = 0
        self._sent_s = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def begin(self) -> None:
        request = self._ask()
        if request is None:
            self.done.set_result(None)
            return
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = data = self._buffer + data if self._buffer else data
        if not self._wanted_bytes:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._wanted_bytes = end + 4 + body_bytes(data[:end])
        if len(data) < self._wanted_bytes:
            return
        if data[9:10] != b"2" or len(data) > self._wanted_bytes:
            self._fail(Refused(data.decode("utf-8", "replace")))
            return
        self._answered(time.perf_counter() - self._sent_s, self._wanted_bytes)
        self._buffer, self._wanted_bytes = b"", 0
        self.begin()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or Refused("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def body_bytes(head: bytes) -> int:
    """Return how many bytes follow a head; both products' short answers name their length."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise Refused(f"an answer without Content-Length: {head!r}")
    return int(rest.partition(b"\r\n")[0])


async def load(addresses: Sequence[Address], request: Request, *, clients: int, seconds: float) -> Load:
    """Have `clients` clients ask for `seconds`, spread over `addresses`.

    Raises:
        Refused: An answer was not a success.
        OSError: A connection broke.
    """
    latencies_s: list[float] = []
    sizes = [0]
    numbers = itertools.count()
    end_s = 0.0

    def ask() -> bytes | None:
        return request(next(numbers)) if time.perf_counter() < end_s else None

    def answered(latency_s: float, size: int) -> None:
        if time.perf_counter() <= end_s:
            latencies_s.append(latency_s)
            sizes[0] = size

    async with _connected(addresses, clients, ask, answered) as connections:
        cpu_s = time.process_time()
        end_s = time.perf_counter() + seconds
        await _until_done(connections, timeout_s=seconds + ANSWER_TIMEOUT_S)
        cpu_s = time.process_time() - cpu_s
    return Load(seconds=seconds, latencies_s=latencies_s, client_cpu_s=cpu_s, answer_bytes=sizes[0])


async def send_all(address: Address, request: Request, *, clients: int, count: int) -> None:
    """Have `clients` clients ask for everything from 0 to `count`, each once; raises as `load` does."""
    requests = map(request, range(count))
    async with _connected([address], clients, lambda: next(requests, None), lambda *_: None) as connections:
        await _until_done(connections, timeout_s=count * ANSWER_TIMEOUT_S)


@contextlib.asynccontextmanager
async def _connected(
    addresses: Sequence[Address], clients: int, ask: Ask, answered: Callable[[float, int], None]
) -> AsyncIterator[list[_Client]]:
    loop = asyncio.get_running_loop()
    connections: list[_Client] = []
    try:
        for number in range(clients):
            host, port = addresses[number % len(addresses)]
            _, client = await loop.create_connection(lambda: _Client(ask, answered), host, port)
            connections.append(client)
        yield connections
    finally:
        for client in connections:
            client.done.cancel()
            client.close()


async def _until_done(connections: Sequence[_Client], *, timeout_s: float) -> None:
    for client in connections:
        client.begin()
    async with asyncio.timeout(timeout_s):
        await asyncio.gather(*(client.done for client in connections))


async def ask(address: Address, request: bytes) -> bytes:
    """Send one request on a connection of its own and return the body of the answer.

    Raises:
        Refused, OSError: As `load`.
    """
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(body_bytes(head))
    except asyncio.IncompleteReadError as error:
        raise Refused("the server closed the connection") from error
    finally:
        writer.close()
    if head[9:10] != b"2":
        raise Refused((head + body).decode("utf-8", "replace"))
    return body


def run(work: Coroutine[None, None, T]) -> T:
    """Run one of the above on a fast loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)

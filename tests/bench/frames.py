"""What an answer over HTTP costs below any handler: a bare asyncio protocol, our short way, and aiohttp.

Each is a process of its own that gives the same small answer; the client is that of `consensus`. The bare
protocol does not even read what it is asked: no server on this loop and in this language is below it.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import cast

import uvloop
from aiohttp import web

from hamgr.api.express import EXPRESS, Express, Ways
from tests.bench import cpu
from tests.bench.command import parser_of
from tests.bench.consensus_client import Address, load, run

ANSWER = b'{"ref": "node-001", "index": 123456}'
BODY = b'{"variables": {"value": "%b"}}' % (b"v" * 100)
REQUEST = (
    b"PATCH /v1/nodes/node-001 HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: bench-1\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CLIENTS = 64
Figures = Mapping[str, Sequence[tuple[float, float]]]
"""Answers a second, and microseconds of the server's processor for each, by side and round."""


class Bare(asyncio.Protocol):
    """Answers whatever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, _data: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(ANSWER), ANSWER)
        )


async def _handle(_request: web.Request) -> web.Response:
    return web.Response(body=ANSWER, content_type="application/json")


@contextlib.asynccontextmanager
async def _protocols(side: str) -> AsyncIterator[Callable[[], asyncio.BaseProtocol]]:
    app = web.Application()
    for method, path in EXPRESS:
        app.router.add_route(method, path, _handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    server = runner.server
    assert server is not None

    async def complete(_request: web.Request, _response: web.StreamResponse) -> None:
        """Add no headers: aiohttp is to do as much."""

    ways = Ways(
        app,
        server,
        answer=lambda request, handler: handler(request),
        complete=complete,
        idle_s=60.0,
        head_line_bytes_max=8_190,
    )
    try:
        yield {"bare": Bare, "short way": lambda: Express(ways), "aiohttp": server}[side]
    finally:
        await ways.close(0.1)
        await runner.cleanup()


SIDES = ("bare", "short way", "aiohttp")


async def serve(side: str) -> None:
    """Serve one side on a free port, say which, and end with the standard input."""
    async with _protocols(side) as protocol:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(protocol, "127.0.0.1", 0)
        print(listener.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        listener.close()


@contextlib.contextmanager
def _served(side: str) -> Iterator[tuple[Address, int]]:
    """Run a side; yield where it answers, and its process."""
    command = [sys.executable, "-m", "tests.bench.frames", "--serve", side]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield ("127.0.0.1", int(process.stdout.readline())), process.pid
        process.communicate()


def measured(*, rounds: int, seconds: float, clients: int = CLIENTS) -> Figures:
    """Ask all sides in turn, `rounds` times."""
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    with contextlib.ExitStack() as stack:
        places: dict[str, tuple[Address, int]] = {side: stack.enter_context(_served(side)) for side in SIDES}
        for _ in range(rounds):
            for side, (address, pid) in places.items():
                before_s = cpu.of_processes([pid])
                seen = run(load([address], lambda _number: REQUEST, clients=clients, seconds=seconds))
                used_s = cpu.of_processes([pid]) - before_s
                found[side].append((seen.per_s, used_s / seen.count * 1e6))
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("frames", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each side in each round")
    arguments = parser.parse_args(words)
    found = measured(rounds=arguments.rounds, seconds=arguments.seconds)
    middle = {
        side: [statistics.median(one) for one in zip(*taken, strict=True)] for side, taken in found.items()
    }
    if arguments.json:
        names = ("per_s", "server_us")
        print(json.dumps({side: dict(zip(names, one, strict=True)) for side, one in middle.items()}))
        return 0
    print(f"{CLIENTS} clients, one process that serves; medians of {arguments.rounds} rounds taken in turn")
    print(f"{'':10}{'answers/s':>11}{'server us':>11}")
    for side, (per_s, server_us) in middle.items():
        print(f"{side:10}{per_s:11.0f}{server_us:11.0f}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        uvloop.run(serve(sys.argv[2]))
        raise SystemExit(0)
    raise SystemExit(main())

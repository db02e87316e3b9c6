"""What a link costs: round trips and bytes between two processes through mutual TLS, frames and checks.

Beside it stands a floor, in the same run: plain TCP, with neither TLS nor frames. Its round trips are an
asyncio protocol's that sends the same bytes back. Its volume comes from a blocking socket and is thrown away,
while the links' comes in messages of 256 KiB, of which 16 are under way, and each is answered. So the volumes
are a bound and a figure, and not two of a kind. The processes use uvloop.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import secrets
import socket
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.wire.endpoint import LinkSettings
from hamgr.raft.wire.hello import Hello
from hamgr.raft.wire.links import Links
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import Authority

PIECE = {"type": "snapshot_piece", "data": bytes(256 * 1024)}
PIECES_UNDER_WAY = 16
MIB = 1 << 20


class Plain(asyncio.Protocol):
    """The floor: calls with what came."""

    def __init__(self, came: Callable[[asyncio.WriteTransport, bytes], None]) -> None:
        self._came = came

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came(self._transport, data)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def made_links(folder: Path, members: Sequence[Member], number: int, receive, up) -> Links:
    """The links of one of two members whose certificates are in `folder`."""
    me = members[number]
    return Links(
        own=Hello(
            cluster="bench",
            replica=me.id,
            folder=bytes(16),
            starts=1,
            nonce=secrets.token_bytes(16),
            version="",
            commands=frozenset(),
        ),
        address=me.raft,
        credentials=Credentials(
            ca=folder / "ca.crt", certificate=folder / f"{me.id}.crt", key=folder / f"{me.id}.key"
        ),
        receive=receive,
        up=up,
        down=lambda _peer, _refused: None,
        settings=LinkSettings(),
    )


def answer(folder: Path, members: Sequence[Member], ports: Sequence[int], over: Connection) -> None:
    """The other process: sends small messages back, and a word for a piece, until `over` is closed."""

    async def run() -> None:
        ended = asyncio.Event()

        def receive(sender: ReplicaId, message) -> None:
            links.send(sender, {"type": "piece"} if message["type"] == PIECE["type"] else message)

        loop = asyncio.get_running_loop()
        links = made_links(folder, members, 1, receive, lambda _peer: None)
        await links.start()
        links.reconcile({members[0].id: members[0]})
        echo = await loop.create_server(lambda: Plain(lambda to, data: to.write(data)), "127.0.0.1", ports[0])
        sink = await loop.create_server(lambda: Plain(lambda _to, _data: None), "127.0.0.1", ports[1])
        loop.add_reader(over.fileno(), ended.set)
        over.send("ready")
        await ended.wait()
        loop.remove_reader(over.fileno())
        echo.close()
        sink.close()
        await links.close()

    uvloop.run(run())


async def timed(send, news: asyncio.Event, count: int) -> list[float]:
    """Return the seconds of `count` round trips, one after the other."""
    taken = []
    for _ in range(count):
        news.clear()
        begun = time.perf_counter()
        send()
        await news.wait()
        taken.append(time.perf_counter() - begun)
    return taken


async def through_links(folder: Path, members: Sequence[Member], sizes, rounds: int, pieces: int) -> dict:
    news, linked, room = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(PIECES_UNDER_WAY)

    def receive(_sender: ReplicaId, message) -> None:
        if message["type"] == "piece":
            room.release()
        news.set()

    links = made_links(folder, members, 0, receive, lambda _peer: linked.set())
    peer = members[1].id
    await links.start()
    links.reconcile({peer: members[1]})
    await linked.wait()
    found: dict = {"round_trip_s": {}}
    try:
        while not news.is_set():  # the other side may not have its link yet
            links.send(peer, {"type": "hey"})
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        for size in sizes:
            message = {"type": "append_entries", "entries": [[bytes(size), 1, 1]]}

            def send(message=message) -> None:
                links.send(peer, dict(message))  # another one each time, or it would be encoded once

            found["round_trip_s"][size] = await timed(send, news, rounds)
        begun = time.perf_counter()
        for _ in range(pieces):
            await room.acquire()
            links.send(peer, dict(PIECE))
        for _ in range(PIECES_UNDER_WAY):
            await room.acquire()
        found["mib_per_s"] = pieces * len(PIECE["data"]) / MIB / (time.perf_counter() - begun)
    finally:
        await links.close()
    return found


async def through_tcp(ports: Sequence[int], sizes, rounds: int, pieces: int) -> dict:
    news, missing = asyncio.Event(), 0

    def came(_to: asyncio.WriteTransport, data: bytes) -> None:
        nonlocal missing
        missing -= len(data)
        if missing <= 0:
            news.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: Plain(came), "127.0.0.1", ports[0])
    found: dict = {"round_trip_s": {}}
    for size in sizes:

        def send(size: int = size) -> None:
            nonlocal missing
            missing = size
            transport.write(bytes(size))

        found["round_trip_s"][size] = await timed(send, news, rounds)
    transport.close()
    found["mib_per_s"] = await loop.run_in_executor(None, volume, ports[1], pieces)
    return found


def volume(port: int, pieces: int) -> float:
    """Return MiB a second of plain TCP from a blocking socket into the other process's loop."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begun = time.perf_counter()
        for _ in range(pieces):
            connection.sendall(PIECE["data"])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the end; a sink says nothing
        return pieces * len(PIECE["data"]) / MIB / (time.perf_counter() - begun)


def measured(sizes: Sequence[int], rounds: int, pieces: int) -> dict[str, dict]:
    """Measure both sides, with the other end in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority.create("bench")
        authority.save(folder)
        members = []
        for number in (1, 2):
            replica = ReplicaId(str(uuid.UUID(int=random.getrandbits(128))))
            authority.issue_replica(f"r{number}", replica).save(
                folder / f"{replica}.crt", folder / f"{replica}.key"
            )
            members.append(Member(id=replica, name=f"r{number}", raft=f"127.0.0.1:{free_port()}"))
        ports = [free_port(), free_port()]
        here, there = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        other = spawn.Process(target=answer, args=(folder, members, ports, there))
        other.start()
        there.close()
        try:
            here.recv()
            return {
                "tcp": uvloop.run(through_tcp(ports, sizes, rounds, pieces)),
                "links": uvloop.run(through_links(folder, members, sizes, rounds, pieces)),
            }
        finally:
            here.close()  # the other process sees that, and ends
            other.join()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench wire", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5_000)
    parser.add_argument("--pieces", type=int, default=1_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[150, 4_096, 65_536])
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    arguments = parser.parse_args(words)
    found = measured(arguments.sizes, arguments.rounds, arguments.pieces)
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(f"{'':12}{'bytes':>8}{'median us':>12}{'p99 us':>10}{'per s':>10}")
    for side, figures in found.items():
        for size, taken in figures["round_trip_s"].items():
            p99 = sorted(taken)[len(taken) * 99 // 100]
            per_s = len(taken) / sum(taken)
            print(f"{side:12}{size:8}{statistics.median(taken) * 1e6:12.0f}{p99 * 1e6:10.0f}{per_s:10.0f}")
    for side, figures in found.items():
        print(f"{side:12}{figures['mib_per_s']:8.0f} MiB/s in pieces of 256 KiB, one way")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

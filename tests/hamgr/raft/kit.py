"""What the tests of replication share: settings on free loopback ports, commands, waiting with a deadline."""

import asyncio
import itertools
import random
import secrets
import socket
import time
from pathlib import Path

from hamgr.raft.settings import StockSettings
from statemachine.commands import AddNode, EditNode, SetGlobals
from statemachine.model import Endpoint

PASSWORD = secrets.token_hex(32)
_numbers = itertools.count(1)


def free_ports(count: int) -> list[int]:
    """Ports below the range from which the kernel picks for clients, free a moment ago."""
    ports = []
    while len(ports) < count:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def settings_of(count: int, folder: Path, **more) -> list[StockSettings]:
    names = [f"r{n}" for n in range(1, count + 1)]
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(count), strict=True)}
    return [
        StockSettings(
            name=name,
            address=addresses[name],
            peers={peer: (addresses[peer], f"http://{peer}") for peer in names if peer != name},
            password=PASSWORD,
            data_dir=folder / name,
            **more,
        )
        for name in names
    ]


def add_node(name: str) -> AddNode:
    return AddNode(
        request_id=f"add-{name}",
        at=1.0,
        actor="test",
        node=name,
        endpoint=Endpoint(address=f"{name}.example"),
    )


def edit_node(name: str, count: int) -> EditNode:
    return EditNode(
        request_id=f"edit-{name}-{count}", at=1.0, actor="test", node=name, labels={"n": str(count)}
    )


def set_globals(**variables) -> SetGlobals:
    return SetGlobals(request_id=f"set-{next(_numbers)}", at=1.0, actor="test", variables=variables)


async def until(condition, *, seconds: float = 20.0):
    """Wait until `condition()` (or what it awaits) is true, and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        await asyncio.sleep(0.02)

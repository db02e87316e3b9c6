"""The same machines with keepalived (VRRPv3) instead of hamgr, and what a client sees of a pulled cable."""

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.histories.sites import Sites, claimed_sites
from tests.lab.kit.processes import in_network_namespace, tool

MACHINES = ("r1", "r2", "r3")
PORT = 8080
EVERY_S, TRY_S, SETTLE_S_MAX = 0.01, 1.0, 20.0
SERVER = """
import socket
server = socket.create_server(("0.0.0.0", 8080), backlog=256)
while True:
    connection, _ = server.accept()
    connection.sendall(b"ok")
    connection.close()
"""
CONFIGURATION = """
global_defs {{
  vrrp_version 3
  router_id {name}
}}
vrrp_instance bench {{
  interface eth0
  state BACKUP
  virtual_router_id 77
  priority {priority}
  advert_int {advert_s:g}
  nopreempt
  virtual_ipaddress {{
    {ip}/32 dev eth0
  }}
}}
"""


def gaps(directory: Path, advert_s: float, deaths: int) -> list[float]:
    """Return the longest gap of each of `deaths` pulled cables, in seconds."""
    with claimed_sites(MACHINES) as sites, _running(sites, directory, advert_s) as ip:
        return [_death(sites, ip, advert_s) for _ in range(deaths)]


@contextlib.contextmanager
def _running(sites: Sites, directory: Path, advert_s: float) -> Iterator[str]:
    network, started = sites._network, []
    ip = f"{network.prefix}.201"
    try:
        for number, name in enumerate(MACHINES):
            path = directory / f"{name}-{advert_s:g}.conf"
            priority = 100 + number
            path.write_text(CONFIGURATION.format(name=name, priority=priority, advert_s=advert_s, ip=ip))
            keepalived = ["keepalived", "--dont-fork", "--vrrp", "--use-file", str(path)]
            keepalived += [
                "--pid",
                str(directory / f"{name}.pid"),
                "--vrrp_pid",
                str(directory / f"{name}.v"),
            ]
            with sites.inside(name), (directory / f"{name}.log").open("ab") as log:
                started += [
                    subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                    for argv in (keepalived, [sys.executable, "-c", SERVER])
                ]
        yield ip
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait()


def _holders(sites: Sites, ip: str) -> list[str]:
    shown = {name: tool("ip", "-n", sites._network.namespace(_host(name)), "-o", "addr") for name in MACHINES}
    return [name for name, text in shown.items() if f" {ip}/" in text]


def _host(name: str) -> str:
    return f"n{name.removeprefix('r')}"


def _death(sites: Sites, ip: str, advert_s: float) -> float:
    deadline = time.monotonic() + SETTLE_S_MAX
    while len(_holders(sites, ip)) != 1:
        if time.monotonic() > deadline:
            raise RuntimeError(f"keepalived has the address on {_holders(sites, ip)}")
        time.sleep(0.1)
    time.sleep(2 * advert_s + 0.5)
    (old,) = _holders(sites, ip)
    answers: list[float] = []
    stop = threading.Event()
    thread = threading.Thread(target=_call, args=(sites._network.hub, ip, answers, stop))
    thread.start()
    try:
        time.sleep(0.5)
        died = time.monotonic()
        sites._network.link(_host(old), up=False)
        time.sleep(5 * advert_s + 1.0)
    finally:
        stop.set()
        thread.join()
    sites._network.link(_host(old), up=True)
    pairs = itertools.pairwise(sorted(answers))
    return max(later - max(earlier, died) for earlier, later in pairs if later > died)


def _call(hub: str, ip: str, answers: list[float], stop: threading.Event) -> None:
    async def ask() -> None:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(TRY_S):
                reader, writer = await asyncio.open_connection(ip, PORT)
                if await reader.read() == b"ok":
                    answers.append(time.monotonic())
                writer.transport.abort()

    async def go_on() -> None:
        tries: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            tries.add(one := asyncio.create_task(ask()))
            one.add_done_callback(tries.discard)
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*tries, return_exceptions=True)

    with in_network_namespace(hub):
        asyncio.run(go_on())

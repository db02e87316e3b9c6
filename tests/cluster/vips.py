"""A cluster whose leader holds a virtual address, and a client that asks it there.

Each replica has a network namespace. The client stands in the hub, which all replicas reach. `wreck` does
to a leader's machine what machines suffer; `mend` undoes it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.histories.cluster import REPLICAS, SeparateCluster
from tests.histories.sites import Sites, claimed_sites
from tests.lab.kit.processes import in_network_namespace, tool

PORT = 8443
HOST_NUMBER = 200
IPV6 = "fd77::c8"
WRECKS = ("power cut", "freeze", "cable", "partition")


@dataclass(slots=True)
class VIPCluster:
    """Three replicas that share a virtual address.

    Attributes:
        ip, ipv6: The addresses.
    """

    cluster: SeparateCluster
    sites: Sites
    ip: str
    ipv6: str = IPV6

    @property
    def authority(self) -> Path:
        return self.cluster.layout.directory / "pki" / "ca.crt"

    @property
    def token(self) -> str:
        return self.cluster.layout.token

    def namespace(self, replica: str = "") -> str:
        network = self.sites._network
        return network.namespace(f"n{replica.removeprefix('r')}") if replica else network.hub

    def pids(self, replica: str) -> list[int]:
        """Return everything that runs on a replica's machine: the daemon and its watchdog."""
        return [int(word) for word in tool("ip", "netns", "pids", self.namespace(replica)).split()]

    def holders(self, ip: str = "") -> list[str]:
        """Return on whose interface the address is, whatever anybody says."""
        wanted = f" {ip or self.ip}/"
        return [
            name
            for name in self.cluster.names
            if wanted in tool("ip", "-n", self.namespace(name), "-o", "addr", "show")
        ]

    def view(self, replica: str) -> dict:
        return self.cluster.on(replica, "GET", "/v1/vip?consistency=stale").ok()

    def shown(self) -> bytes:
        """Return the certificate, in DER, that is shown at the address; none when nobody answers there."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = False
        with (
            contextlib.suppress(OSError),
            in_network_namespace(self.namespace()),
            socket.create_connection((self.ip, PORT), timeout=2) as plain,
            context.wrap_socket(plain) as one,
        ):
            return one.getpeercert(binary_form=True) or b""
        return b""

    def settle(self) -> str:
        """Wait until one replica leads and alone has the address; return its name."""
        return self.cluster.wait(
            "a holder", lambda: (name := self.cluster.leader()) and self.holders() == [name] and name
        )

    def wreck(self, replica: str, how: str) -> None:
        network, host = self.sites._network, f"n{replica.removeprefix('r')}"
        match how:
            case "power cut":
                network.link(host, up=False)
                for pid in self.pids(replica):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case "freeze":
                for pid in self.pids(replica):
                    os.kill(pid, signal.SIGSTOP)
            case "cable":
                network.link(host, up=False)
            case "partition":
                self.sites.isolate(replica)

    def mend(self, replica: str) -> None:
        """Undo every wreck of one replica's machine."""
        self.sites._network.link(f"n{replica.removeprefix('r')}", up=True)
        self.sites.heal()
        for pid in self.pids(replica):
            os.kill(pid, signal.SIGCONT)
        if self.cluster.processes.ended(replica) is not None:
            # The power cut took the address with the rest of the machine's memory.
            tool(
                "ip",
                "-n",
                self.namespace(replica),
                "addr",
                "del",
                f"{self.ip}/32",
                "dev",
                "eth0",
                check=False,
            )
            self.cluster.processes.start_replica(replica)
        self.cluster.wait(
            f"replica {replica}", lambda: self.cluster.on(replica, "GET", "/readyz").status == 200
        )


@contextlib.contextmanager
def vip_cluster(directory: Path) -> Iterator[VIPCluster]:
    """Run three replicas with a virtual address for as long as the context is open."""
    with contextlib.ExitStack() as stack:
        sites = stack.enter_context(claimed_sites(REPLICAS))
        network = sites._network
        vips = VIPCluster(SeparateCluster.at(sites, directory), sites, f"{network.prefix}.{HOST_NUMBER}")
        tool("ip", "-n", network.hub, "addr", "add", "fd77::1/64", "dev", "br0", "nodad")
        for replica in REPLICAS:
            number = replica.removeprefix("r")
            own = f"fd77::1{number}/64"
            tool("ip", "-n", vips.namespace(replica), "addr", "add", own, "dev", "eth0", "nodad")
        for plan in vips.cluster.layout.replicas:
            settings = json.loads(plan.config.read_text())
            addresses = [f"{vips.ip}/24", f"{vips.ipv6}/64"]
            settings["vip"] = {"addresses": addresses, "interface": "eth0", "port": PORT}
            plan.config.write_text(json.dumps(settings, indent=2))
        stack.callback(vips.cluster.stop)
        stack.callback(lambda: [os.kill(p, signal.SIGCONT) for r in REPLICAS for p in vips.pids(r)])
        vips.cluster.start()
        yield vips


@dataclass(slots=True)
class Caller:
    """Asks who answers at the address, again and again with a new connection; notes when and who.

    Attributes:
        answers: Moment of the answer, replica's name.
        asked: Moment of the question that was answered, replica's name.
    """

    vips: VIPCluster
    ip: str
    every_s: float = 0.01
    timeout_s: float = 1.0
    answers: list[tuple[float, str]] = field(default_factory=list)
    asked: list[tuple[float, str]] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Caller":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def longest_gap_s(self, *, since: float = 0.0) -> float:
        """Return the longest time without an answer, until now."""
        moments = sorted(at for at, _ in self.answers)
        moments.append(time.monotonic())
        return max(
            (later - max(earlier, since) for earlier, later in itertools.pairwise(moments) if later > since),
            default=0.0,
        )

    def _run(self) -> None:
        with in_network_namespace(self.vips.namespace()):
            asyncio.run(self._ask_on())

    async def _ask_on(self) -> None:
        """Begin a try every `every_s`, whatever became of those before."""
        context = ssl.create_default_context(cafile=str(self.vips.authority))
        context.check_hostname = False
        tries: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            tries.add(one := asyncio.create_task(self._ask(context)))
            one.add_done_callback(tries.discard)
            await asyncio.sleep(self.every_s)
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)

    async def _ask(self, context: ssl.SSLContext) -> None:
        writer, asked = None, time.monotonic()
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await asyncio.open_connection(self.ip, PORT, ssl=context)
                head = f"GET /v1/replica HTTP/1.1\r\nHost: vip\r\nAuthorization: Bearer {self.vips.token}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode())
                status, _, body = (await reader.read()).partition(b"\r\n\r\n")
            if status.startswith(b"HTTP/1.1 200"):
                who = json.loads(body)["name"]
                self.asked.append((asked, who))
                self.answers.append((time.monotonic(), who))
        except OSError:
            return
        finally:
            if writer is not None:
                writer.transport.abort()

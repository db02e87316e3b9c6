"""Makes a host's network slow or lossy: with netem where the kernel has it, else with a relay process.

A delay goes when the host's power does. Cuts hold while there is one: they name both ports of a host.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.kit.network import Network
from tests.lab.kit.processes import LabError, in_network_namespace, tool

RELAY = Path(__file__).with_name("relay.py")


def set_delay(network: Network, host: str, directory: Path, *, delay_ms: float, loss_percent: float) -> None:
    """Delay every frame from and to a running host by `delay_ms` (each way), and lose a share of them."""
    clear_delay(network, host, directory)
    if not delay_ms and not loss_percent:
        return
    if not _netem(network, host, delay_ms, loss_percent):
        clear_delay(network, host, directory)  # one of the two may have worked
        _relay(network, host, directory, delay_ms, loss_percent)


def clear_delay(network: Network, host: str, directory: Path) -> None:
    """Carry the host's frames at once again; nothing happens when they are."""
    with contextlib.suppress(OSError, ValueError):
        relay = int((directory / "relay.pid").read_text())
        if str(RELAY).encode() in Path(f"/proc/{relay}/cmdline").read_bytes():  # process ids are used again
            os.kill(relay, signal.SIGKILL)
    (directory / "relay.pid").unlink(missing_ok=True)
    tool("tc", "-n", network.hub, "qdisc", "del", "dev", network.port(host), "root", check=False)
    tool("tc", "-n", network.namespace(host), "qdisc", "del", "dev", "eth0", "root", check=False)
    tool("ip", "-n", network.hub, "link", "set", network.port(host), "master", "br0", check=False)


def _netem(network: Network, host: str, delay_ms: float, loss_percent: float) -> bool:
    for namespace, device in ((network.hub, network.port(host)), (network.namespace(host), "eth0")):
        qdisc = ["tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "netem"]
        spec = ["delay", f"{delay_ms}ms", "loss", f"{loss_percent}%"]
        if subprocess.run([*qdisc, *spec], capture_output=True, check=False).returncode:
            return False
    return True


def _relay(network: Network, host: str, directory: Path, delay_ms: float, loss_percent: float) -> None:
    port, tap = network.port(host), network.relay_port(host)
    argv = [sys.executable, str(RELAY), port, tap, str(delay_ms), str(loss_percent)]
    log = directory / "relay.log"
    with in_network_namespace(network.hub), log.open("ab") as errors:
        # setsid --fork: the relay outlives this process, and somebody else waits for its end.
        started = subprocess.run(
            ["setsid", "--fork", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    if not started.stdout.strip():
        raise LabError(f"the relay of {host} did not start: {log.read_text()[-600:]}")
    (directory / "relay.pid").write_text(started.stdout)
    network.ip(f"link set {port} nomaster", f"link set {port} promisc on", f"link set {tap} master br0 up")

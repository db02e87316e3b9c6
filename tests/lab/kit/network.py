"""The lab's network: a bridge in a namespace of its own, a port for each host, and the cuts between them.

1. Cuts are made on the bridge: both sides keep their link, and nothing tells them.
2. A set of cuts appears in one nft transaction; there is no moment with half a partition.
3. Unicast ARP always passes, else a one-way cut would also silence the other direction as soon as a cached
   address runs out (the answer could not come back). Broadcast ARP, so gratuitous ARP too, obeys the cut.
4. IPv6 obeys the cuts, neighbour discovery included: a one-way cut of IPv6 is in time a cut both ways.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tests.lab.kit.processes import LabError, in_network_namespace, tool

HUB = "hub"
HOSTS_MAX = 179
"""Host n179 has the address .189; what is above is free for virtual addresses."""
FIRST_HOST_ADDRESS = 10

RULES = """table bridge lab {
  set cut { type ifname . ifname; }
  set from_hub { type ifname; }
  set to_hub { type ifname; }
  chain forward {
    type filter hook forward priority 0;
    ether type arp ether daddr != ff:ff:ff:ff:ff:ff accept;
    iifname . oifname @cut drop;
  }
  chain input {
    type filter hook input priority 0;
    ether type arp ether daddr != ff:ff:ff:ff:ff:ff accept;
    iifname @to_hub drop;
  }
  chain output {
    type filter hook output priority 0;
    ether type arp ether daddr != ff:ff:ff:ff:ff:ff accept;
    oifname @from_hub drop;
  }
}
"""
FLUSH = "".join(f"flush set bridge lab {name}\n" for name in ("cut", "from_hub", "to_hub"))


def number(host: str) -> int:
    """Return which host `host` is: 3 for n3.

    Raises:
        LabError: That is no host's name.
    """
    digits = host.removeprefix("n")
    if host == digits or not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) <= HOSTS_MAX:
        raise LabError(f"no such host: {host} (hosts are n1 to n{HOSTS_MAX})")
    return int(digits)


class Network:
    """The hub and its bridge.

    Attributes:
        hub: Name of the hub's network namespace.
    """

    def __init__(self, name: str, prefix: str) -> None:
        """Nothing is made yet; `prefix` is the first three bytes of the addresses, as in 10.77.0."""
        self.name = name
        self.prefix = prefix
        self.hub = f"{name}-hub"

    def address(self, host: str) -> str:
        """Return the IPv4 address of a host, or of the hub."""
        return f"{self.prefix}.{1 if host == HUB else FIRST_HOST_ADDRESS + number(host)}"

    def namespace(self, host: str) -> str:
        return self.hub if host == HUB else f"{self.name}-{host}"

    @staticmethod
    def port(host: str) -> str:
        """Return the name of the host's port on the bridge."""
        return f"v{number(host)}"

    @staticmethod
    def relay_port(host: str) -> str:
        """Return the name of the port that stands in while a relay delays the host's frames."""
        return f"d{number(host)}"

    def exists(self) -> bool:
        return Path("/run/netns", self.hub).exists()

    def make(self) -> None:
        """Make the hub with its bridge and no cuts."""
        tool("ip", "netns", "add", self.hub)
        self.ip(
            "link set lo up",
            # A fixed address: a bridge otherwise takes its ports' lowest one, which changes as hosts join,
            # and the hosts' ARP entries for the hub go stale.
            "link add br0 address 02:77:00:00:00:fe type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"addr add {self.address(HUB)}/24 brd + dev br0",
            "link set br0 up",
        )
        self._nft(RULES)

    def remove(self) -> None:
        tool("ip", "netns", "del", self.hub, check=False)

    def plug(self, host: str) -> None:
        """Make the host's namespace, with eth0 in it and the other end on the bridge."""
        tool("ip", "netns", "add", self.namespace(host))
        mac = f"02:77:00:00:00:{number(host):02x}"
        self.ip(
            f"link add {self.port(host)} type veth peer name eth0 address {mac} netns {self.namespace(host)}",
            f"link set {self.port(host)} master br0 up",
        )

    def unplug(self, host: str) -> None:
        """Take the host's port away at once: from now on nothing from it reaches anybody."""
        tool("ip", "-n", self.hub, "link", "del", self.port(host), check=False)

    def forget(self, host: str) -> None:
        """Remove the namespace of a host that is off."""
        tool("ip", "netns", "del", self.namespace(host), check=False)

    def link(self, host: str, *, up: bool) -> None:
        """Pull the host's cable, or plug it back: the host sees its carrier go and come."""
        self.ip(f"link set {self.port(host)} {'up' if up else 'down'}")

    def block(self, source: str, target: str) -> None:
        """Drop what goes from `source` to `target`, and nothing else."""
        self._nft("".join(self._cut(source, target)))

    def partition(self, groups: Collection[Collection[str]]) -> None:
        """Cut the groups off from each other, instead of every earlier cut."""
        cuts = (
            line
            for here, there in itertools.permutations(groups, 2)
            for source, target in itertools.product(here, there)
            for line in self._cut(source, target)
        )
        self._nft(FLUSH + "".join(cuts))

    def heal(self) -> None:
        """Undo every block and partition."""
        self._nft(FLUSH)

    def ip(self, *lines: str) -> None:
        """Run ip(8) commands in the hub, one process for all."""
        tool("ip", "-n", self.hub, "-batch", "-", text="\n".join(lines) + "\n")

    def _nft(self, text: str) -> None:
        with in_network_namespace(self.hub):
            tool("nft", "-f", "-", text=text)

    def _cut(self, source: str, target: str) -> Iterator[str]:
        if source == target:
            raise LabError(f"{source} cannot be cut off from itself")
        for left, right in itertools.product(self._ports(source), self._ports(target)):
            if target == HUB:
                yield f'add element bridge lab to_hub {{ "{left}" }}\n'
            elif source == HUB:
                yield f'add element bridge lab from_hub {{ "{right}" }}\n'
            else:
                yield f'add element bridge lab cut {{ "{left}" . "{right}" }}\n'

    def _ports(self, host: str) -> Iterable[str]:
        return [HUB] if host == HUB else [self.port(host), self.relay_port(host)]

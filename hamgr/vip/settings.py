"""The configuration's section `vip`: which addresses follow the leader, and where."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
ADDRESSES_MAX = 8


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not ADDRESS/PREFIX, like 10.0.0.5/24 or fd00::5/64") from error
    if "/" not in text:
        raise ValueError(f"{text!r} lacks its prefix length, like {text}/24")
    ip = address.ip
    if ip.is_loopback or ip.is_multicast or ip.is_unspecified or "%" in text:
        raise ValueError(f"{text!r} cannot move between hosts; name an unused address of your network")
    if ip.is_link_local:
        raise ValueError(f"{text!r} is link-local, so clients could not name it; use a routed address")
    wide = address.network.num_addresses > 2 and ip.version == 4
    if wide and ip in (address.network.network_address, address.network.broadcast_address):
        raise ValueError(f"{text!r} is the network's own or its broadcast address; name an unused one in it")
    return str(address)


class VIPSection(BaseModel):
    """What the leader holds; the same on all replicas, but for the interface's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: tuple[Annotated[str, AfterValidator(_usable)], ...] = Field(
        min_length=1, max_length=ADDRESSES_MAX
    )
    interface: str = Field(pattern=r"^[A-Za-z0-9_.@:-]{1,15}$")
    port: int | None = Field(default=None, gt=0, lt=65_536)
    """Where the leader serves its API on the addresses, by TLS with its certificate; None: it does not."""

    @property
    def interfaces(self) -> tuple[Address, ...]:
        """The addresses with their networks."""
        return tuple(ipaddress.ip_interface(text) for text in self.addresses)

    @model_validator(mode="after")
    def _check(self) -> "VIPSection":
        seen = [address.ip for address in self.interfaces]
        for ip in seen:
            if seen.count(ip) > 1:
                raise ValueError(f"{ip} is named twice")
        return self

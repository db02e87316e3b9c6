"""Frames against bytes that were written down by hand from the RFCs, field by field."""

import ipaddress

import pytest

from hamgr.vip import packets
from hamgr.vip.packets import Claim

MAC = bytes.fromhex("027700000001")
IPV4 = ipaddress.IPv4Address("10.0.0.5")
IPV6 = ipaddress.IPv6Address("fd00::5")


def fields(*hexadecimal: str) -> bytes:
    return bytes.fromhex("".join(hexadecimal))


def test_an_arp_probe_asks_for_the_address_and_claims_none() -> None:
    """RFC 5227, 2.1.1: sender IP zero, target hardware address zero."""
    assert packets.probe(IPV4, MAC) == fields(
        "ffffffffffff", "027700000001", "0806",  # to all, from us, ARP
        "0001", "0800", "06", "04", "0001",  # Ethernet, IPv4, 6 and 4 bytes, request
        "027700000001", "00000000", "000000000000", "0a000005",
    )  # fmt: skip


def test_an_arp_announcement_names_the_address_as_sender_and_target() -> None:
    """RFC 5227, 2.3: as a probe, but with both addresses the one that is announced."""
    assert packets.announcement(IPV4, MAC) == fields(
        "ffffffffffff", "027700000001", "0806",
        "0001", "0800", "06", "04", "0001",
        "027700000001", "0a000005", "000000000000", "0a000005",
    )  # fmt: skip


def test_an_ipv6_probe_is_a_solicitation_from_nowhere_to_the_solicited_node() -> None:
    """RFC 4862, 5.4.2 and RFC 4861, 4.3: no option, since the source is unspecified; hop limit 255."""
    assert packets.probe(IPV6, MAC) == fields(
        "3333ff000005", "027700000001", "86dd",
        "60000000", "0018", "3a", "ff",
        "00000000000000000000000000000000", "ff0200000000000000000001ff000005",
        "87", "00", "7d9d", "00000000", "fd000000000000000000000000000005",
    )  # fmt: skip


def test_an_ipv6_announcement_overrides_what_all_nodes_believe() -> None:
    """RFC 4861, 4.4 and 7.2.6: unsolicited, override set, to all nodes, with our link-layer address."""
    assert packets.announcement(IPV6, MAC) == fields(
        "333300000001", "027700000001", "86dd",
        "60000000", "0020", "3a", "ff",
        "fd000000000000000000000000000005", "ff020000000000000000000000000001",
        "88", "00", "5a1c", "20000000", "fd000000000000000000000000000005",
        "02", "01", "027700000001",
    )  # fmt: skip


@pytest.mark.parametrize("frame", [packets.probe(IPV6, MAC), packets.announcement(IPV6, MAC)])
def test_an_icmpv6_checksum_covers_the_pseudo_header(frame: bytes) -> None:
    """RFC 4443, 2.3: summed with its own checksum, all is ones; so the complement is zero."""
    ip = frame[14:]
    pseudo = ip[8:40] + len(ip[40:]).to_bytes(4, "big") + b"\0\0\0\x3a"
    assert packets.checksum(pseudo + ip[40:]) == 0


def test_the_checksum_is_that_of_the_rfcs_example() -> None:
    """RFC 1071, 3."""
    assert packets.checksum(fields("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_who_answers_or_announces_claims_the_address() -> None:
    assert packets.arp_claim(packets.announcement(IPV4, MAC)) == Claim(IPV4, "02:77:00:00:00:01")
    message = packets.announcement(IPV6, MAC)[14 + 40 :]
    assert packets.advertised_claim(message) == Claim(IPV6, "02:77:00:00:00:01")


def test_who_probes_claims_nothing() -> None:
    assert packets.arp_claim(packets.probe(IPV4, MAC)) is None
    assert packets.advertised_claim(packets.probe(IPV6, MAC)[14 + 40 :]) is None


@pytest.mark.parametrize("size", range(42))
def test_a_frame_that_was_cut_off_claims_nothing(size: int) -> None:
    assert packets.arp_claim(packets.announcement(IPV4, MAC)[:size]) is None


def test_options_of_length_zero_do_not_hang_the_reader() -> None:
    """RFC 4861, 4.6: such a packet is to be discarded."""
    message = packets.announcement(IPV6, MAC)[14 + 40 :][:24] + bytes(16)
    claim = packets.advertised_claim(message)
    assert claim is not None
    assert claim.mac == ""

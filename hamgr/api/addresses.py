"""The addresses of a discover request: hosts, host:port and ranges, into endpoints to probe."""

import ipaddress
import re

from hamgr.api.problems import Fault, Problem
from statemachine.model import Endpoint

ADDRESSES_MAX = 4_096
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")
_DIGITS_AND_DOTS = re.compile(r"[0-9.]+\Z")
_HINT = "write 10.0.0.7, 10.0.0.7:2222, [fd00::7]:22, web-1.example.org or 10.0.0.0/24"


def endpoints(texts: list[str], *, port: int, user: str) -> tuple[tuple[Endpoint, ...], bool]:
    """Return the endpoints that `texts` name, none twice, and whether a range was among them.

    Raises:
        Problem: `invalid` with every bad address named, or `limit` when there are too many.
    """
    found: dict[Endpoint, None] = {}
    bad: list[Fault] = []
    sweep = False
    for i, text in enumerate(texts):
        if "/" in text:
            hosts = _range(text)
            sweep = True
        else:
            one = _one(text.strip(), port)
            hosts = None if one is None else [one]
        if hosts is None:
            bad.append(Fault(pointer=f"/addresses/{i}", message=f"{text!a} is not an address or a range"))
            continue
        for host, own_port in hosts:
            found[Endpoint(address=host, port=own_port or port, user=user)] = None
        if len(found) > ADDRESSES_MAX:
            raise Problem(
                "limit",
                f"more than {ADDRESSES_MAX} addresses; one request may probe that many",
                hint="split the range",
                offenders=(text,),
            )
    if bad:
        names = [texts[int(fault.pointer.rpartition("/")[2])] for fault in bad]
        shown = ", ".join(map(ascii, names))
        raise Problem(
            "invalid", f"not an address or a range: {shown}", hint=_HINT, offenders=names, errors=bad
        )
    return tuple(found), sweep


def _range(text: str) -> list[tuple[str, int]] | None:
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    if network.num_addresses > ADDRESSES_MAX + 2:
        raise Problem(
            "limit",
            f"{text} has {network.num_addresses} addresses; one request may probe {ADDRESSES_MAX}",
            hint="split the range",
            offenders=(text,),
        )
    return [(str(address), 0) for address in network.hosts()]


def _one(text: str, port: int) -> tuple[str, int] | None:
    """Return host and port of one address; None when it is none."""
    bare = _ip(text)
    if bare is not None:
        return bare, port
    host, colon, digits = ("", "", "") if text.endswith("]") else text.rpartition(":")
    if colon:
        if not (digits.isascii() and digits.isdigit() and len(digits) < 6 and 0 < int(digits) < 65_536):
            return None
        port = int(digits)
    else:
        host = text
    if host.startswith("[") and host.endswith("]"):
        inner = _ip(host[1:-1])
        return (inner, port) if inner is not None and ":" in inner else None
    literal = _ip(host)
    if literal is not None and ":" not in literal:
        return literal, port
    named = _HOST_NAME.match(host) and not _DIGITS_AND_DOTS.match(host)
    return (host.lower(), port) if named else None


def _ip(text: str) -> str | None:
    """Return an address in its one canonical form; None when it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None

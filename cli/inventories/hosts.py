"""One machine of a list, and what may be said of it."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

HOSTS_MAX = 10_000
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z")
_GROUP = re.compile(r"[^a-z0-9._-]+")
_RANGE = re.compile(r"\[([0-9A-Za-z]+):([0-9A-Za-z]+)(?::([0-9]+))?\]")


class BadLine(Exception):
    """A line that cannot be used; `line` counts from 1, 0 where there is none."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine as its list names it."""

    name: str
    address: str
    port: int = 22
    user: str = ""
    role: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def checked(line: int, name: str, values: Mapping[str, str], *, groups: list[str], role: str = "") -> Host:
    """Return a host, from its name and Ansible's words for where it is.

    Raises:
        BadLine: It has no usable name or port.
    """
    shown = name.lower()
    if not _NAME.match(shown):
        raise BadLine(line, f"{name!r} cannot be a node's name; use letters, digits, '-' and '.'")
    port = values.get("ansible_port", "22")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise BadLine(line, f"the port of {name} is {port!r}, which is none")
    labels = {f"group/{_GROUP.sub('-', group.lower()).strip('-.')}": "true" for group in groups}
    return Host(
        name=shown,
        address=canonical(values.get("ansible_host", name)),
        port=int(port),
        user=values.get("ansible_user", ""),
        role=role,
        labels=labels,
    )


def canonical(address: str) -> str:
    """Return an IP address in its one form, which discovery uses too; a host name in lower case."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address.lower()


def expanded(line: int, pattern: str) -> list[str]:
    """Return the names that an Ansible pattern such as `web[01:20]` stands for.

    Raises:
        BadLine: The range is none, or too long.
    """
    found = [pattern]
    while match := _RANGE.search(found[0]):
        first, last, step = match[1], match[2], int(match[3] or 1)
        parts = _steps(first, last, step)
        if not parts or len(parts) * len(found) > HOSTS_MAX:
            raise BadLine(line, f"{match[0]} is not a range of at most {HOSTS_MAX} names")
        found = [text.replace(match[0], part, 1) for text in found for part in parts]
    return found


def _steps(first: str, last: str, step: int) -> list[str]:
    if step < 1:
        return []
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        count = (int(last) - int(first)) // step + 1
        return [f"{int(first) + i * step:0{width}}" for i in range(min(count, HOSTS_MAX + 1))]
    if len(first) == len(last) == 1 and first.isalpha() and last.isalpha():
        return [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    return []

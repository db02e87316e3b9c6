"""One machine of a list, what may be said of it, and which reader a file wants."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.exits import CliError, Exit

FILE_BYTES_MAX = 8 * 1024 * 1024
HOSTS_MAX = 10_000
FORMATS = ("ini", "yaml", "csv")
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


def read(path: str, fmt: str) -> list[Host]:
    """Return the hosts that a file names, each once.

    Args:
        path: `-` for standard input.
        fmt: One of `FORMATS`; empty to tell by the file's name, and else by its first line.

    Raises:
        CliError: It cannot be read, or a line cannot be used; the message has file and line.
    """
    from cli.inventories import ansible, table  # noqa: PLC0415 - they use this module's names

    text = text_of(path)
    readers = {"ini": ansible.from_ini, "yaml": ansible.from_yaml, "csv": table.from_csv}
    try:
        found = readers[fmt or _format(path, text)](text)
    except BadLine as error:
        where = f"{path}:{error.line}" if error.line else path
        raise CliError(Exit.USAGE, f"{where}: {error}", hint="nothing was done; mend the file") from error
    if not 0 < len(found) <= HOSTS_MAX:
        raise CliError(Exit.USAGE, f"{path}: names {len(found) or 'no'} hosts; 1 to {HOSTS_MAX} are possible")
    return found


def text_of(path: str) -> str:
    """Return the text of a file, or of standard input for `-`; raises `CliError`."""
    import sys  # noqa: PLC0415 - with what reads it

    try:
        data = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if path == "-" else Path(path).read_bytes()
        if len(data) > FILE_BYTES_MAX:
            raise CliError(Exit.USAGE, f"{path}: larger than {FILE_BYTES_MAX} bytes; that is no list")
        return data.decode("utf-8")
    except OSError as error:
        raise CliError(Exit.USAGE, f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CliError(Exit.USAGE, f"{path}: is not UTF-8 text") from error


def _format(path: str, text: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yaml"
    if suffix == ".csv":
        return "csv"
    first = next((line for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"), "")
    if first.strip() == "---" or first.rstrip().endswith(":"):
        return "yaml"
    names = {part.strip().lower() for part in first.split(",")}
    return "csv" if {"name", "address"} <= names else "ini"

"""A file, or standard input, that names hosts, and which reader it wants."""

import sys
from pathlib import Path

from cli.exits import CliError, Exit
from cli.inventories import ansible, table
from cli.inventories.hosts import HOSTS_MAX, BadLine, Host

FILE_BYTES_MAX = 8 * 1024 * 1024
_READERS = {"ini": ansible.from_ini, "yaml": ansible.from_yaml, "csv": table.from_csv}
FORMATS = tuple(_READERS)


def read(path: str, fmt: str) -> list[Host]:
    """Return the hosts that a file names, each once.

    Args:
        path: `-` for standard input.
        fmt: One of `FORMATS`; empty to tell by the file's name, and else by its first line.

    Raises:
        CliError: It cannot be read, or a line cannot be used; the message has file and line.
    """
    text = text_of(path)
    try:
        found = _READERS[fmt or _format(path, text)](text)
    except BadLine as error:
        where = f"{path}:{error.line}" if error.line else path
        raise CliError(Exit.USAGE, f"{where}: {error}", hint="nothing was done; mend the file") from error
    if not 0 < len(found) <= HOSTS_MAX:
        raise CliError(Exit.USAGE, f"{path}: names {len(found) or 'no'} hosts; 1 to {HOSTS_MAX} are possible")
    return found


def text_of(path: str) -> str:
    """Return the text of a file, or of standard input for `-`; raises `CliError`."""
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

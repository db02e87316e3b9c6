"""CSV with a head, and plain lists of addresses."""

import csv
import io

from cli.inventories.hosts import BadLine, Host, checked

KNOWN = ("name", "address", "port", "user", "role")


def from_csv(text: str) -> list[Host]:
    """Return the hosts of a CSV file with a head; columns other than `KNOWN` are labels.

    Raises:
        BadLine: A column is missing, a name stands twice, or a value cannot be used.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    head = [column.strip().lower() for column in next(rows, [])]
    if missing := [column for column in ("name", "address") if column not in head]:
        raise BadLine(1, f"has no column {missing[0]}; the first line names the columns: {','.join(KNOWN)}")
    if len(set(head)) != len(head):
        raise BadLine(1, "has a column twice")
    found: dict[str, Host] = {}
    for row in rows:
        number = rows.line_num
        if not any(value.strip() for value in row):
            continue
        if len(row) != len(head):
            raise BadLine(number, f"has {len(row)} values, and there are {len(head)} columns")
        host = _host(number, dict(zip(head, (value.strip() for value in row), strict=True)))
        if host.name in found:
            raise BadLine(number, f"{host.name} stands in the file twice")
        found[host.name] = host
    return list(found.values())


def _host(number: int, row: dict[str, str]) -> Host:
    if not row["address"]:
        raise BadLine(number, f"{row['name'] or 'a host'} has no address")
    values = {"ansible_host": row["address"], "ansible_user": row.get("user", "")}
    values["ansible_port"] = row.get("port") or "22"
    bare = checked(number, row["name"], values, groups=[], role=row.get("role", ""))
    labels = {key: value for key, value in row.items() if key and key not in KNOWN and value}
    return Host(
        name=bare.name, address=bare.address, port=bare.port, user=bare.user, role=bare.role, labels=labels
    )


def addresses(text: str) -> list[str]:
    """Return the addresses of a plain list: one a line, `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]

"""Ansible inventories, as far as they say where machines are and which groups they belong to.

1. Taken: `ansible_host`, `ansible_port`, `ansible_user` (and their old names with `_ssh_`), of hosts and of
   groups; a group's children have them too, and the host's own come first. Groups become labels.
2. Other variables are left alone: what configures a node is said in bundles.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.inventories.hosts import BadLine, Host, checked, expanded

WORDS = {
    "ansible_host": "ansible_host",
    "ansible_port": "ansible_port",
    "ansible_user": "ansible_user",
    "ansible_ssh_host": "ansible_host",
    "ansible_ssh_port": "ansible_port",
    "ansible_ssh_user": "ansible_user",
}
EVERYBODY = frozenset({"all", "ungrouped"})
DEPTH_MAX = 32


@dataclass(slots=True)
class _Group:
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Inventory:
    groups: dict[str, _Group] = field(default_factory=dict)
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def group(self, name: str) -> _Group:
        return self.groups.setdefault(name, _Group())

    def host(self, name: str, line: int) -> dict[str, str]:
        self.lines.setdefault(name, line)
        return self.hosts.setdefault(name, {})

    def result(self) -> list[Host]:
        """Return the hosts, with what their groups say of them."""
        above: dict[str, list[str]] = {name: [] for name in self.hosts}
        members = {name: self._members(name, 0) for name in self.groups}
        for name in sorted(members, key=lambda name: -len(members[name])):  # the innermost comes last
            for host in members[name]:
                above[host].append(name)
        return [self._host(name, above[name]) for name in self.hosts]

    def _members(self, name: str, depth: int) -> list[str]:
        if depth > DEPTH_MAX:
            raise BadLine(0, f"the group {name} contains itself")
        group = self.groups.get(name)
        if group is None:
            raise BadLine(0, f"there is no group {name}, which another one names as its child")
        below = [host for child in group.children for host in self._members(child, depth + 1)]
        return list(dict.fromkeys([*group.hosts, *below]))

    def _host(self, name: str, groups: list[str]) -> Host:
        values: dict[str, str] = dict(self.groups["all"].values) if "all" in self.groups else {}
        for group in groups:
            if group != "all":
                values.update(self.groups[group].values)
        values.update(self.hosts[name])
        labelled = sorted({group for group in groups if group not in EVERYBODY})
        return checked(self.lines[name], name, values, groups=labelled)


def from_ini(text: str) -> list[Host]:
    """Return the hosts of an inventory in INI form; raises `BadLine`."""
    inventory = _Inventory()
    section, kind = "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section, kind = _section(number, line)
            inventory.group(section)
        elif kind == "children":
            inventory.group(section).children.append(_words(number, line)[0])
        elif kind == "vars":
            key, _, value = line.partition("=")
            inventory.group(section).values.update(_known({key.strip(): value.strip().strip("'\"")}))
        else:
            _ini_host(inventory, section, number, line)
    return inventory.result()


def _section(number: int, line: str) -> tuple[str, str]:
    name, _, kind = line.partition("#")[0].strip().strip("[]").partition(":")
    if not line.partition("#")[0].strip().endswith("]") or not name:
        raise BadLine(number, f"{line!r} is not a section; write [GROUP]")
    if kind not in ("", "vars", "children", "hosts"):
        raise BadLine(
            number, f"[{name}:{kind}] is no section; there are GROUP, GROUP:vars and GROUP:children"
        )
    return name, kind or "hosts"


def _words(number: int, line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise BadLine(number, f"{str(error).lower()}: {line!r}") from error


def _ini_host(inventory: _Inventory, section: str, number: int, line: str) -> None:
    pattern, *pairs = _words(number, line)
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadLine(number, f"{pair!r} is not KEY=VALUE")
        values[key] = value
    name = pattern
    if pattern.count(":") == 1 and "[" not in pattern:
        name, _, port = pattern.partition(":")
        values.setdefault("ansible_port", port)
    for host in expanded(number, name):
        inventory.host(host, number).update(_known(values))
        inventory.group(section).hosts.append(host)


def _known(values: Mapping[str, Any]) -> dict[str, str]:
    return {WORDS[key]: str(value) for key, value in values.items() if key in WORDS}


def from_yaml(text: str) -> list[Host]:
    """Return the hosts of an inventory in YAML form; raises `BadLine`."""
    import yaml  # noqa: PLC0415 - 30 ms that only a file is worth

    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise BadLine(line, f"not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadLine(0, f"not YAML: {error}") from error
    inventory = _Inventory()
    for name, body in _map(data, "the file").items():
        _yaml_group(inventory, str(name), body, 0)
    return inventory.result()


def _yaml_group(inventory: _Inventory, name: str, body: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BadLine(0, f"the group {name} nests deeper than {DEPTH_MAX} levels")
    group = inventory.group(name)
    parts = _map(body, f"the group {name}")
    if wrong := sorted(set(map(str, parts)) - {"hosts", "children", "vars"}):
        raise BadLine(0, f"the group {name} has {wrong[0]!r}; a group has hosts, children and vars")
    group.values.update(_known(_map(parts.get("vars"), f"the vars of {name}")))
    for pattern, values in _map(parts.get("hosts"), f"the hosts of {name}").items():
        for host in expanded(0, str(pattern)):
            inventory.host(host, 0).update(_known(_map(values, f"the host {pattern}")))
            group.hosts.append(host)
    for child, inner in _map(parts.get("children"), f"the children of {name}").items():
        group.children.append(str(child))
        _yaml_group(inventory, str(child), inner, depth + 1)


def _map(value: Any, what: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise BadLine(0, f"{what} is {value!r}, and must be a map")
    raise BadLine(0, f"{what} is a list, and must be a map")

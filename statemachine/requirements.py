"""What roles require of each other: the seed's "last master" rule, for any role.

1. A node in service whose role says `requires: {role: r, min: n}` needs at least n nodes of role r that
   count (`lifecycle.COUNTED`).
2. An operation that would break this, or make a breach worse, is refused; one that leaves an existing
   breach as it is, or mends it, is not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from statemachine.lifecycle import COUNTED
from statemachine.manifest import Manifest, RoleSpec
from statemachine.model import Node, State
from statemachine.words import Digest, NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node as this rule sees it: a role, as one bundle defines it."""

    role: str
    bundle: Digest


def members(state: State, *, without: Iterable[NodeName] = ()) -> list[Member]:
    """Return the nodes that count, except those named."""
    gone = set(without)
    return [
        Member(role=node.role, bundle=node.bundle)
        for node in state.nodes.values()
        if node.status in COUNTED and node.name not in gone
    ]


def breaches(state: State, present: Iterable[Member]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return what is missing: (role, required role) -> (how many there are, how many are needed)."""
    counts = Counter(member.role for member in present)
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for member in dict.fromkeys(present):
        spec = _role(state, member)
        for requirement in spec.requires if spec else ():
            have = counts[requirement.role]
            need = max(requirement.minimum, found.get((member.role, requirement.role), (0, 0))[1])
            if have < need:
                found[member.role, requirement.role] = (have, need)
    return found


def worsened(
    before: Mapping[tuple[str, str], tuple[int, int]], after: Mapping[tuple[str, str], tuple[int, int]]
) -> list[str]:
    """Return a sentence for each breach that is new or deeper."""
    return [
        f"role {role} needs {need} x {required} in service and would have {have}"
        for (role, required), (have, need) in after.items()
        if (role, required) not in before or have < before[role, required][0]
    ]


def refusal_of_removal(state: State, gone: Iterable[NodeName]) -> list[str]:
    """Return why the nodes `gone` may not leave service together; empty when they may."""
    return worsened(breaches(state, members(state)), breaches(state, members(state, without=gone)))


def refusal_of_addition(state: State, added: Iterable[tuple[NodeName, str]], bundle: Digest) -> list[str]:
    """Return why nodes may not enter service in these roles together; empty when they may."""
    pairs = list(added)
    roles = {role for _, role in pairs}
    present = members(state, without=[name for name, _ in pairs])
    present += [Member(role=role, bundle=bundle) for _, role in pairs]
    return [
        f"role {role} needs {need} x {required} in service and would have {have}"
        for (role, required), (have, need) in breaches(state, present).items()
        if role in roles
    ]


def unready(state: State, node: Node, role: str, bundle: Digest) -> list[str]:
    """Return what `node` must wait for before it may enter service in `role`; empty when nothing."""
    counts = Counter(member.role for member in members(state, without=[node.name]))
    spec = _role(state, Member(role=role, bundle=bundle))
    return [
        f"role {role} needs {requirement.minimum} x {requirement.role} in service; there are {counts[requirement.role]}"
        for requirement in (spec.requires if spec else ())
        if requirement.role != role and counts[requirement.role] < requirement.minimum
    ]


def rank(manifest: Manifest, role: str) -> int:
    """Return how many roles stand below `role`: 0 when it requires none (the loader refuses cycles)."""
    depth, level = 0, {role}
    while depth < len(manifest.roles):
        level = {
            requirement.role
            for name in level
            if name in manifest.roles
            for requirement in manifest.roles[name].requires
            if requirement.role != name
        }
        if not level:
            break
        depth += 1
    return depth


def _role(state: State, member: Member) -> RoleSpec | None:
    bundle = state.bundles.get(member.bundle)
    return bundle.manifest.roles.get(member.role) if bundle else None

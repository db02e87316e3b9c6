"""What roles require of each other: the seed's "last master" rule, for any role.

1. A node in service whose role says `requires: {role: r, min: n}` needs at least n nodes of role r that
   count (`lifecycle.COUNTED`).
2. An operation that would break this, or make a breach worse, is refused; one that leaves an existing
   breach as it is, or mends it, is not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from statemachine.lifecycle import COUNTED, IN_SERVICE
from statemachine.manifest import Manifest, RoleSpec
from statemachine.model import Node, State
from statemachine.phases import role_of
from statemachine.words import Digest, NodeName, Presence, Status

Breaches: TypeAlias = dict[tuple[str, str], tuple[int, int]]
"""(role, required role) -> (how many there are, how many are needed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node as this rule sees it: a role, as one bundle defines it.

    Attributes:
        serving: False for one that is being commissioned, and where it matters who is at work now, for one
            that is being upgraded: it needs others, and nobody can lean on it yet.
    """

    role: str
    bundle: Digest
    serving: bool = True


Census: TypeAlias = Counter[Member]
"""How many nodes of each kind count; small, however many nodes there are."""


def census(state: State, *, without: Iterable[NodeName] = ()) -> Census:
    """Count the nodes that are in service or on their way into it, except those named."""
    gone = set(without)
    serving = Counter(
        (node.role, node.bundle)
        for node in state.nodes.values()
        if node.status in COUNTED and node.name not in gone
    )
    found = Counter({Member(role=role, bundle=bundle): n for (role, bundle), n in serving.items()})
    for node in state.nodes.values():
        if node.status is Status.COMMISSIONING and node.name not in gone:
            job = state.jobs[node.job]
            found[Member(role=role_of(job, node), bundle=job.bundle, serving=False)] += 1
    return found


def breaches(state: State, present: Census) -> Breaches:
    """Return what the roles that are present lack."""
    counts = _by_role(present)
    found: Breaches = {}
    for member, number in present.items():
        spec = _role(state, member) if number > 0 else None
        for requirement in spec.requires if spec else ():
            pair = (member.role, requirement.role)
            need = max(requirement.minimum, found.get(pair, (0, 0))[1])
            if counts[requirement.role] < need:
                found[pair] = (counts[requirement.role], need)
    return found


def _sentence(role: str, required: str, have: int, need: int) -> str:
    return f"role {role} needs {need} x {required} in service and would have {have}"


def _worsened(before: Mapping[tuple[str, str], tuple[int, int]], after: Breaches) -> list[str]:
    return [
        _sentence(role, required, have, need)
        for (role, required), (have, need) in after.items()
        if (role, required) not in before or have < before[role, required][0]
    ]


def refusal_of_removal(state: State, gone: Iterable[NodeName]) -> list[str]:
    """Return why the nodes `gone` may not leave service together; empty when they may."""
    return _worsened(breaches(state, census(state)), breaches(state, census(state, without=gone)))


def refusal_of_upgrade(state: State, nodes: Iterable[Node], bundle: Digest) -> list[str]:
    """Return why the nodes may not serve by `bundle`, whose roles may require more; empty when they may."""
    nodes = list(nodes)
    present = census(state, without=(node.name for node in nodes))
    present.update(Member(role=node.role, bundle=bundle) for node in nodes)
    return _worsened(breaches(state, census(state)), breaches(state, present))


def refusal_of_addition(state: State, added: Mapping[NodeName, str], bundle: Digest) -> list[str]:
    """Return why the nodes may not enter service in these roles together; empty when they may."""
    present = census(state, without=added)
    present.update(Member(role=role, bundle=bundle) for role in added.values())
    roles = set(added.values())
    return [
        _sentence(role, required, have, need)
        for (role, required), (have, need) in breaches(state, present).items()
        if role in roles
    ]


def needs(state: State, role: str, bundle: Digest) -> bool:
    """Return whether a node of `role` requires others at all."""
    spec = _role(state, Member(role=role, bundle=bundle))
    return bool(spec and spec.requires)


def is_needed(state: State, node: Node) -> bool:
    """Return whether any role of any bundle requires nodes of the role of `node`."""
    return any(
        requirement.role == node.role
        for bundle in state.bundles.values()
        for role in bundle.manifest.roles.values()
        for requirement in role.requires
    )


def waits_to_enter(state: State, present: Census, role: str, bundle: Digest) -> list[str]:
    """Return what must be in service before one more node of `role` may be; empty when all of it is."""
    counts = _by_role(present)
    spec = _role(state, Member(role=role, bundle=bundle))
    return [
        _sentence(role, requirement.role, counts[requirement.role], requirement.minimum)
        for requirement in (spec.requires if spec else ())
        if requirement.role != role and counts[requirement.role] < requirement.minimum
    ]


def waits_to_leave(state: State, present: Census, node: Node) -> list[str]:
    """Return what must leave service before `node` may; empty when it may go now."""
    member = Member(role=node.role, bundle=node.bundle)
    if node.status not in COUNTED:
        return []
    rest = present.copy()
    rest[member] -= 1
    return _worsened(breaches(state, present), breaches(state, rest))


def at_work(state: State) -> Census:
    """Count the nodes that do their role's work now: in service, in reach, not set aside, owing nothing.

    Those that are being upgraded are counted as such that nobody can lean on: they come back at any moment,
    and need then what they needed before.
    """
    return Counter(
        Member(role=node.role, bundle=node.bundle, serving=node.status is not Status.UPGRADING)
        for node in state.nodes.values()
        if node.status is Status.UPGRADING or serves(node)
    )


def serves(node: Node) -> bool:
    """Return whether others can lean on `node` now."""
    return (
        node.status in IN_SERVICE
        and node.presence is not Presence.UNREACHABLE
        and node.maintenance is None
        and node.debt is None
    )


def waits_to_stop(state: State, working: Census, node: Node) -> list[str]:
    """Return what would be missing while `node` is out of work for a while; empty when it may stop now.

    Args:
        working: See `at_work`.
    """
    if not serves(node):
        return []
    rest = working.copy()
    rest[Member(role=node.role, bundle=node.bundle)] -= 1
    return _worsened(breaches(state, working), breaches(state, rest))


def refusal_of_stops(state: State, nodes: Iterable[Node]) -> list[str]:
    """Return what would be missing whenever one of the nodes stops, however well all others are."""
    counted = census(state)
    there = breaches(state, counted)
    found: dict[str, None] = {}
    for node in nodes:
        if node.status in COUNTED:
            rest = counted.copy()
            rest[Member(role=node.role, bundle=node.bundle)] -= 1
            found.update(dict.fromkeys(_worsened(there, breaches(state, rest))))
    return list(found)


def refusal_of_rest(state: State, gone: Iterable[NodeName]) -> list[str]:
    """Return what would be missing while the nodes `gone` rest together, and those that rest already do."""
    resting = {name for name, node in state.nodes.items() if node.maintenance or node.debt}
    before = census(state, without=resting)
    return _worsened(breaches(state, before), breaches(state, census(state, without=resting.union(gone))))


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


def _by_role(present: Census) -> Counter[str]:
    counts: Counter[str] = Counter()
    for member, number in present.items():
        counts[member.role] += number if member.serving else 0
    return counts


def _role(state: State, member: Member) -> RoleSpec | None:
    bundle = state.bundles.get(member.bundle)
    return bundle.manifest.roles.get(member.role) if bundle else None

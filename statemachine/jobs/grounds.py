"""What a plan rests on, node by node, and the hash that names it.

1. A plan rests on what `PARTS` names; presence, history, locks and cordons are not among them, since every
   submission looks at those anyway.
2. Equal requests in equal states give equal bytes, however their maps are ordered. A field of `SubmitJob`
   that is added later, with a default, changes no hash.
"""

import dataclasses
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, cast

import msgpack

from statemachine import codec
from statemachine.commands import SubmitJob
from statemachine.copying import replace
from statemachine.model import Node, State
from statemachine.nodes import variables
from statemachine.phases import KEEP_BUNDLE
from statemachine.rollouts import debts
from statemachine.words import Digest, NodeName, Offline, RequestId, Value

FORMAT = 1
"""Of what hashes are made of; raised when a part is added, so that old plans are made anew."""
PARTS = (
    "status",
    "role",
    "bundle",
    "last good bundle",
    "machine",
    "variables",
    "facts",
    "failure domain",
)
_DIGEST_BYTES = 16
_TAG_BYTES = 2
"""The digest decides; a tag for each part only says which of them moved."""
_FLEETING_FACTS = frozenset({"boot_id"})
"""A reboot alone moves nothing that a plan rests on."""
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
STAMPS = frozenset({"request_id", "at", "actor"})
"""Of a command, and not of what it asks for."""


class Grounds:
    """What a request rests on in one state; the variables that nodes share are resolved once."""

    def __init__(self, state: State, request: SubmitJob) -> None:
        self._state = state
        self._request = request
        self._shared: dict[tuple[Digest, str], _Shared] = {}

    def of(self, name: NodeName) -> bytes:
        """Return what the request rests on at a node: a digest, and a tag for each of `PARTS`."""
        node = self._state.nodes.get(name)
        if node is None:
            return b""
        parts = [_pack(part) for part in self._parts(node)]
        digest = hashlib.sha256(msgpack.packb([FORMAT, *parts])).digest()
        tags = b"".join(zlib.crc32(part).to_bytes(4, "big")[:_TAG_BYTES] for part in parts)
        return digest[:_DIGEST_BYTES] + tags

    def all(self) -> dict[NodeName, bytes]:
        """Return it for every node that the request names."""
        return {name: self.of(name) for name in self._request.nodes}

    def _parts(self, node: Node) -> tuple[Any, ...]:
        request = self._request
        role = request.role or node.role
        bundle = request.bundle or node.bundle
        return (
            node.status.value,
            role,
            node.bundle,
            node.last_good,
            [node.machine_id, node.host_key],
            self._variables(node, bundle, role),
            {key: value for key, value in node.facts.items() if key not in _FLEETING_FACTS},
            node.labels.get(request.rollout.domain) if request.rollout.domain else None,
        )

    def _variables(self, node: Node, bundle: Digest, role: str) -> bytes:
        """Return a digest of the variables that the job would have on the node.

        Most values are shared: they are packed once, and only those that the node says something of anew.
        """
        shared = self._shared.get((bundle, role))
        if shared is None:
            layers = variables.layers(self._state, node, bundle, role=role)
            below = variables.resolve(tuple(layer for layer in layers if layer[0] != "node"))
            shared = self._shared[bundle, role] = _Shared(below, self._request.variables)
        last = node.last_request if self._request.kind in KEEP_BUNDLE else {}
        return shared.with_own(node.variables, last)


class _Shared:
    """The variables of all nodes of one role: those below a node's own, and those of the request above."""

    def __init__(self, below: dict[str, Value], above: Mapping[str, Value]) -> None:
        self._below = below
        self._above = above
        self._packed = {key: _pack(value) for key, value in variables.merged(below, above).items()}
        self._nothing_own = _digest(self._packed)

    def with_own(self, own: Mapping[str, Value], last: Mapping[str, Value]) -> bytes:
        """Return a digest of all of them with the node's `own`, and then its `last` request, in between."""
        if not own and not last:
            return self._nothing_own
        said = own.keys() | last.keys()
        below = {key: self._below[key] for key in said if key in self._below}
        above = {key: self._above[key] for key in said if key in self._above}
        found = variables.merged(variables.merged(variables.merged(below, own), last), above)
        packed = {key: value for key, value in self._packed.items() if key not in said}
        return _digest(packed | {key: _pack(value) for key, value in found.items()})


def _digest(packed: Mapping[str, bytes]) -> bytes:
    return hashlib.sha256(msgpack.packb([[key, packed[key]] for key in sorted(packed)])).digest()


def _pack(value: Any) -> bytes:
    return cast("bytes", msgpack.packb(_sorted(value), use_bin_type=True))


def preconditions(state: State, request: SubmitJob) -> dict[NodeName, bytes]:
    """Return what `request` rests on, by node; empty bytes for one that is not known."""
    return Grounds(state, request).all()


def plan_hash(request: SubmitJob, nodes: Mapping[NodeName, bytes], *, needs_approval: bool) -> str:
    """Return the name of a plan: SHA-256 in hexadecimal of all that it says."""
    whole = [FORMAT, said(request), sorted(nodes.items()), needs_approval]
    return hashlib.sha256(msgpack.packb(whole, use_bin_type=True)).hexdigest()


def fixed(request: SubmitJob, nodes: tuple[NodeName, ...], bundle: Digest) -> SubmitJob:
    """Return `request` as a plan keeps it: with its nodes and bundle by name, and without its stamps."""
    return replace(
        request,
        request_id=RequestId(""),
        at=0.0,
        actor="",
        nodes=nodes,
        selector="",
        bundle=bundle,
        plan="",
        offline=Offline.OWE if debts.asked(request) else request.offline,
    )


def moved(state: State, request: SubmitJob, nodes: Mapping[NodeName, bytes]) -> dict[NodeName, str]:
    """Return what is not as it was, by node, in words."""
    grounds = Grounds(state, request)
    found: dict[NodeName, str] = {}
    for name, before in nodes.items():
        now = grounds.of(name)
        if now != before:
            found[name] = _difference(before, now)
    return found


def _difference(before: bytes, now: bytes) -> str:
    if not now:
        return "it is not known any more"
    tags = range(_DIGEST_BYTES, _DIGEST_BYTES + len(PARTS) * _TAG_BYTES, _TAG_BYTES)
    names = [
        part
        for part, at in zip(PARTS, tags, strict=True)
        if before[at : at + _TAG_BYTES] != now[at : at + _TAG_BYTES]
    ]
    return f"another {' and '.join(names)}" if names else "another configuration"


def said(command: SubmitJob) -> dict[str, Any]:
    """Return what a request says beyond its defaults and its stamps."""
    return cast("dict[str, Any]", _without_defaults(command, skip=STAMPS))


def _without_defaults(value: Any, skip: frozenset[str] = frozenset()) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        if isinstance(value, tuple | list):
            return [_without_defaults(item) for item in value]
        return _sorted(codec.plain(value))
    return {
        field.name: _without_defaults(getattr(value, field.name))
        for field in sorted(dataclasses.fields(value), key=lambda field: field.name)
        if field.name not in skip and getattr(value, field.name) != _default(field)
    }


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _sorted(value: Any) -> Any:
    """Return a value whose maps are in the order of their keys: equal values give equal bytes."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value

"""Variables of a node: layers merged deeply, each value with the name of the layer it came from.

1. The order is bundle, globals, role, node, request; a later layer wins. Below the request of a job that goes
   by what a node has is the request of the job that configured it.
2. Maps merge key by key; anything else replaces what was there. `null` removes a key.
"""

from collections.abc import Iterator, Mapping

from statemachine import phases
from statemachine.model import Job, Node, State
from statemachine.words import Digest, Phase, Value


def merged(base: Mapping[str, Value], layer: Mapping[str, Value]) -> dict[str, Value]:
    """Return `base` with `layer` merged into it; neither is changed."""
    result = dict(base)
    for key, value in layer.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def layers(
    state: State,
    node: Node,
    bundle: Digest,
    *,
    role: str = "",
    job: Job | None = None,
    phase: Phase = Phase.WORK,
) -> tuple[tuple[str, Mapping[str, Value]], ...]:
    """Return the layers that a node's variables are made of, lowest first, with their names.

    Args:
        phase: The phase of `job`; what undoes an upgrade has the variables that the node had before.
    """
    role = role or node.role
    found: list[tuple[str, Mapping[str, Value]]] = []
    stored = state.bundles.get(bundle)
    if stored is not None:
        found.append(("bundle", stored.manifest.variables))
    found.append(("globals", state.globals))
    if stored is not None and role in stored.manifest.roles:
        found.append((f"role {role}", stored.manifest.roles[role].variables))
    found.append(("node", _own(state, node, job)))
    if job is not None:
        found.extend(phases.requests_in(job, node, phase))
    return tuple(found)


def standing(
    state: State, node: Node, bundle: Digest, *, role: str = ""
) -> tuple[tuple[str, Mapping[str, Value]], ...]:
    """Return the layers of what a node has now, outside of any job: what it was last asked for included."""
    return (*layers(state, node, bundle, role=role), ("last request", node.last_request))


def _own(state: State, node: Node, job: Job | None) -> Mapping[str, Value]:
    """Return the node's layer; one that comes in another's place is configured with that one's."""
    name = phases.name_on(job, node.name) if job is not None else node.name
    return state.nodes.get(name, node).variables


def resolve(named_layers: tuple[tuple[str, Mapping[str, Value]], ...]) -> dict[str, Value]:
    """Return the values that the layers give together."""
    result: dict[str, Value] = {}
    for _, layer in named_layers:
        result = merged(result, layer)
    return result


def origins(named_layers: tuple[tuple[str, Mapping[str, Value]], ...]) -> dict[str, str]:
    """Return, for each value by its dotted path, the name of the layer that it came from."""
    result: dict[str, Value] = {}
    found: dict[str, str] = {}
    for name, layer in named_layers:
        before, result = dict(_paths(result)), merged(result, layer)
        said = {path for path, _ in _paths(layer)}
        found = {
            path: found[path] if path in found and path not in said and before[path] == value else name
            for path, value in _paths(result)
        }
    return found


def _paths(values: Mapping[str, Value], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{path}.")
        elif value is not None:
            yield path, value

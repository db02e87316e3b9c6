"""Variables merge deeply, a later layer wins, null removes; and every value knows where it came from."""

from hypothesis import given
from hypothesis import strategies as st

from statemachine.manifest import ComponentSpec, Manifest, RoleSpec
from statemachine.model import Endpoint, Job, Node
from statemachine.nodes.variables import layers, merged, origins, resolve
from statemachine.words import JobId, JobKind, NodeName, Status, Value
from tests.statemachine.fleet import Fleet, digest

LEAVES = st.one_of(st.none(), st.integers(0, 3), st.lists(st.none(), max_size=1))
LAYER = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)


def test_maps_merge_key_by_key_and_anything_else_replaces() -> None:
    base: dict[str, Value] = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(base, {"a": {"c": [3]}, "d": {"e": 2}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert merged(base, {"a": 5}) == {"a": 5, "d": 1}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_null_removes_a_key_wherever_it_stands() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None}, "d": None}) == {"a": {"c": 2}}
    assert merged({}, {"a": None, "b": {"c": None}}) == {"b": {}}


@given(base=LAYER, layer=LAYER)
def test_merging_the_same_layer_twice_is_the_same_as_once(
    base: dict[str, Value], layer: dict[str, Value]
) -> None:
    once = merged(base, layer)
    assert merged(once, layer) == once


def test_the_layers_come_in_order_and_the_request_wins() -> None:
    fleet = Fleet()
    variables: dict[str, dict[str, Value]] = {
        name: {name: name, "winner": name} for name in ("bundle", "role", "node", "request")
    }
    content = Manifest(
        roles={"web": RoleSpec(name="web", components=("app",), variables=variables["role"])},
        components={"app": ComponentSpec(name="app", version="1")},
        variables=variables["bundle"],
    )
    fleet.bundle(1, content)
    node = Node(
        name=NodeName("n"),
        status=Status.NEW,
        endpoint=Endpoint(address="n"),
        role="web",
        variables=variables["node"],
    )
    job = Job(id=JobId("j-1"), kind=JobKind.UPGRADE, actor="ann", variables=variables["request"])
    found = layers(fleet.state, node, digest(1), job=job)
    assert [name for name, _ in found] == ["bundle", "globals", "role web", "node", "request"]
    assert resolve(found)["winner"] == "request"
    assert origins(found) == {
        "bundle": "bundle",
        "winner": "request",
        "role": "role web",
        "node": "node",
        "request": "request",
    }
    assert [name for name, _ in layers(fleet.state, node, digest(9))] == ["globals", "node"]


def test_a_map_that_a_layer_emptied_comes_from_that_layer() -> None:
    assert origins((("bundle", {"a": 1}), ("node", {"a": {"b": None}}))) == {"a": "node"}
    assert origins((("node", {"a": {"b": None}}),)) == {"a": "node"}
    assert origins((("bundle", {"a": {"b": 1, "c": 2}}), ("node", {"a": {"b": 3}}))) == {
        "a.b": "node",
        "a.c": "bundle",
    }


@given(stack=st.lists(LAYER, max_size=4))
def test_every_value_has_an_origin_that_says_it(stack: list[dict[str, Value]]) -> None:
    named = tuple((str(number), layer) for number, layer in enumerate(stack))
    found = origins(named)
    for path, name in found.items():
        alone = resolve(tuple(layer for layer in named if int(layer[0]) <= int(name)))
        value: Value = resolve(named)
        below: Value = alone
        for key in path.split("."):
            assert isinstance(value, dict)
            assert isinstance(below, dict)
            value, below = value[key], below[key]
        assert value == below, f"{path} has its value since layer {name}"

"""Selectors: every form, every mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.model import Endpoint, Node, State
from statemachine.nodes.targets import TERMS_MAX, parse, select
from statemachine.words import Health, NodeName, Presence, Status


def node(name: str, **fields: object) -> Node:
    defaults: dict[str, object] = {"status": Status.DISCOVERED, "endpoint": Endpoint(address=name)}
    return Node(name=NodeName(name), **{**defaults, **fields})  # type: ignore[arg-type]  # fields of each case


NODES = (
    node("web-2", role="web", status=Status.COMMISSIONED, health=Health.DRIFTED, labels={"rack": "r1"}),
    node("web-1", role="web", status=Status.UPGRADED, presence=Presence.UNREACHABLE, labels={"rack": "r2"}),
    node("db-a", role="db", labels={"rack": "r1", "ssd": "yes"}),
    node("spare"),
)
STATE = State(nodes={one.name: one for one in NODES})
ALL = ("db-a", "spare", "web-1", "web-2")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("*", ALL),
        ("web-*", ("web-1", "web-2")),
        ("web-?", ("web-1", "web-2")),
        ("web-[1]", ("web-1",)),
        ("db-[a-f]", ("db-a",)),
        ("name=db-a", ("db-a",)),
        ("name=web-*", ("web-1", "web-2")),
        ("name!=web-*", ("db-a", "spare")),
        ("role=web", ("web-1", "web-2")),
        ("role!=web", ("db-a", "spare")),
        ("role=", ("spare",)),
        ("role", ("db-a", "web-1", "web-2")),
        ("!role", ("spare",)),
        ("status=commissioned", ("web-2",)),
        ("presence=unreachable", ("web-1",)),
        ("health=drifted", ("web-2",)),
        ("rack=r1", ("db-a", "web-2")),
        ("rack!=r1", ("spare", "web-1")),
        ("rack", ("db-a", "web-1", "web-2")),
        ("!rack", ("spare",)),
        ("rack=r1,role=db", ("db-a",)),
        (" rack=r1 , ssd ", ("db-a",)),
        ("*,!rack", ("spare",)),
        ("role=nobody", ()),
        ("in-service", ("web-1", "web-2")),
        ("!in-service", ("db-a", "spare")),
        ("in-service,rack=r1", ("web-2",)),
    ],
)
def test_a_selector_finds_its_nodes_sorted(selector: str, expected: tuple[str, ...]) -> None:
    terms = parse(selector)
    assert not isinstance(terms, str), terms
    assert select(STATE, terms) == expected


@pytest.mark.parametrize(
    "selector",
    [
        "",
        ",",
        "role=web,",
        "a b",
        "role==web",
        "!rack=r1",
        "=web",
        "!",
        "rack=a b",
        "Rack=r1",
        "rack=*",
        "in-service=no",
        "in-service!=yes",
        "!*",
        "a;b",
    ],
)
def test_what_is_not_a_selector_is_answered_with_a_sentence(selector: str) -> None:
    answer = parse(selector)
    assert isinstance(answer, str)
    assert "is not a selector term" in answer


def test_a_selector_has_a_bounded_number_of_terms() -> None:
    assert isinstance(parse(",".join(["rack"] * TERMS_MAX)), tuple)
    answer = parse(",".join(["rack"] * (TERMS_MAX + 1)))
    assert isinstance(answer, str)
    assert f"at most {TERMS_MAX}" in answer


@given(text=st.text(alphabet="ab*?[]!=,. -1\n", max_size=20))
def test_any_text_is_answered_and_never_raises(text: str) -> None:
    terms = parse(text)
    assert isinstance(terms, str) or set(select(STATE, terms)) <= set(ALL)

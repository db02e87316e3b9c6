"""What presence reports of many nodes at once: what counts, what is told, and what is left alone."""

import pytest

from statemachine.commands import EditNode
from statemachine.outcomes import Reason
from statemachine.presence_commands import PresenceChange, ReportPresences
from statemachine.words import Health, NodeName, Presence
from tests.statemachine.fleet import Fleet, component, manifest

NAMES = tuple(NodeName(f"n{i}") for i in range(8))


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    for name in NAMES:
        fleet.in_service(name)
    return fleet


def lost(*names: NodeName, was: Presence = Presence.REACHABLE) -> dict[str, tuple[PresenceChange, ...]]:
    return {
        "changes": tuple(
            PresenceChange(node=name, was=was, presence=Presence.UNREACHABLE, reason="silent")
            for name in names
        )
    }


def told(fleet: Fleet) -> list[tuple[str, str, str]]:
    """Return what the newest command told of presences."""
    return [
        (event.kind, event.subject, event.message)
        for event in fleet.state.events
        if event.index == fleet.state.index and event.kind.endswith(".presence")
    ]


def test_each_of_a_few_nodes_is_told_by_an_event_of_its_own(fleet: Fleet) -> None:
    fleet.accept(ReportPresences, **lost(*NAMES[:2]))
    assert told(fleet) == [
        ("node.presence", name, "reachable -> unreachable: silent") for name in ("n0", "n1")
    ]
    node = fleet.node(NAMES[0])
    assert (node.presence, node.presence_reason, node.presence_at) == (
        Presence.UNREACHABLE,
        "silent",
        fleet.at,
    )
    assert node.health is Health.UNKNOWN
    assert fleet.node(NAMES[2]).presence is Presence.REACHABLE


def test_the_loss_of_many_is_one_event_that_names_what_only_they_have(fleet: Fleet) -> None:
    for name in NAMES:
        rack = "b" if name in NAMES[:6] else "a"
        fleet.accept(EditNode, node=name, labels={"rack": rack, "site": "x"})
    fleet.accept(ReportPresences, **lost(*NAMES[:6]))
    assert told(fleet) == [
        (
            "fleet.presence",
            "6 nodes",
            "6 of 8 nodes, all of rack=b, became unreachable at once: n0, n1, n2 and 3 more; "
            "the first: silent",
        )
    ]
    assert all(fleet.node(name).presence is Presence.UNREACHABLE for name in NAMES[:6])


def test_a_change_of_what_is_not_so_any_more_is_left_out(fleet: Fleet) -> None:
    fleet.accept(ReportPresences, **lost(NAMES[0], was=Presence.SUSPECT))
    fleet.accept(ReportPresences, **lost(NodeName("ghost")))
    assert fleet.node(NAMES[0]).presence is Presence.REACHABLE
    assert told(fleet) == []


def test_a_new_reason_is_kept_without_an_event_and_since_stays(fleet: Fleet) -> None:
    fleet.accept(ReportPresences, **lost(NAMES[0]))
    since = fleet.node(NAMES[0]).presence_at
    fleet.passed_time(60)
    change = PresenceChange(
        node=NAMES[0], was=Presence.UNREACHABLE, presence=Presence.UNREACHABLE, reason="another machine"
    )
    fleet.accept(ReportPresences, changes=(change,))
    node = fleet.node(NAMES[0])
    assert (node.presence_reason, node.presence_at) == ("another machine", since)
    assert told(fleet) == []


def test_a_report_of_nothing_is_refused(fleet: Fleet) -> None:
    fleet.refuse(Reason.INVALID, ReportPresences, changes=())

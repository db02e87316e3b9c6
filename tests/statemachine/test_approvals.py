"""Plans: named by a hash that says everything, approved by somebody else, begun once and to the letter."""

import json
from dataclasses import replace
from time import thread_time
from typing import Any

import pytest

from statemachine import codec
from statemachine.commands import (
    ApprovePlan,
    EditNode,
    ForgetNode,
    RecordPlan,
    ReportPresence,
    SetGlobals,
    SetMaintenance,
    SubmitJob,
)
from statemachine.jobs import grounds
from statemachine.model import Endpoint
from statemachine.nodes import variables
from statemachine.outcomes import Reason
from statemachine.planned import PLANS_BYTES_MAX, PLANS_MAX
from statemachine.rollout import Rollout
from statemachine.words import Digest, JobKind, NodeName, Presence, RequestId
from tests.statemachine.fleet import Fleet, component, digest, manifest

WEB = manifest(component("app"), roles={"web": (), "db": ()})


def request(kind: JobKind = JobKind.COMMISSION, *nodes: str, **fields: Any) -> SubmitJob:
    names = tuple(NodeName(node) for node in nodes or ("w1", "w2"))
    if kind is JobKind.COMMISSION:
        fields = {"role": "web", "bundle": digest(1), **fields}
    return SubmitJob(request_id=RequestId(""), at=0.0, actor="", kind=kind, nodes=names, **fields)


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.bundle(1, WEB)
    made.discovered("w1", "w2", "w3")
    return made


def planned(fleet: Fleet, wanted: SubmitJob, *, needs_approval: bool = False, **more: Any) -> dict[str, Any]:
    """Return the fields of the `RecordPlan` that is right for now."""
    nodes = grounds.preconditions(fleet.state, wanted)
    name = grounds.plan_hash(wanted, nodes, needs_approval=needs_approval)
    return {"plan": name, "request": wanted, "nodes": nodes, "needs_approval": needs_approval, **more}


def record(fleet: Fleet, wanted: SubmitJob, **more: Any) -> str:
    return fleet.accept(RecordPlan, **planned(fleet, wanted, **more)).ref


def begin(fleet: Fleet, plan: str, kind: JobKind = JobKind.COMMISSION, **more: Any) -> str:
    return fleet.accept(SubmitJob, kind=kind, plan=plan, **more).ref


def test_a_plan_is_begun_to_the_letter_and_its_job_says_so(fleet: Fleet) -> None:
    wanted = request(max_parallel=1, variables={"a": {"b": 1}}, reason="as agreed", priority=7)
    plan = record(fleet, wanted)
    job = fleet.job(begin(fleet, plan, actor="bob"))
    assert list(job.tasks) == ["w1", "w2"]
    assert (job.bundle, job.role, job.max_parallel, job.priority) == (digest(1), "web", 1, 7)
    assert (job.variables, job.reason, job.actor, job.plan) == ({"a": {"b": 1}}, "as agreed", "bob", plan)
    assert fleet.state.plans[plan].used_by == job.id


def test_a_plan_keeps_its_bundle_and_its_nodes_whatever_becomes_current_or_is_found(fleet: Fleet) -> None:
    plan = record(fleet, request())
    fleet.bundle(2, WEB)
    fleet.discovered("w4")
    job = fleet.job(begin(fleet, plan))
    assert (job.bundle, list(job.tasks)) == (digest(1), ["w1", "w2"])


def test_a_plan_is_used_once(fleet: Fleet) -> None:
    plan = record(fleet, request())
    job = begin(fleet, plan)
    refused = fleet.refuse(Reason.WRONG_STATUS, SubmitJob, kind=JobKind.COMMISSION, plan=plan)
    assert job in refused.message
    assert fleet.state.running == (job,)
    fleet.refuse(Reason.WRONG_STATUS, ApprovePlan, plan=plan, actor="bob")


def test_what_was_planned_and_used_before_can_be_planned_again_and_needs_a_new_approval(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.COMMISSION, "w1", "w2", role="web"))
    wanted = request(JobKind.VERIFY)
    plan = record(fleet, wanted, needs_approval=True)
    fleet.accept(ApprovePlan, plan=plan, actor="bob")
    fleet.drive(begin(fleet, plan, JobKind.VERIFY))
    assert record(fleet, wanted, needs_approval=True) == plan
    fleet.refuse(Reason.NOT_APPROVED, SubmitJob, kind=JobKind.VERIFY, plan=plan)


def test_an_unknown_plan_is_refused_with_the_way_out(fleet: Fleet) -> None:
    for command, fields in ((SubmitJob, {"kind": JobKind.VERIFY}), (ApprovePlan, {})):
        refused = fleet.refuse(Reason.NO_SUCH_PLAN, command, plan="f" * 64, **fields)
        assert "plan anew" in refused.hint


@pytest.mark.parametrize(
    ("part", "move"),
    {
        "another variables": lambda f: f.accept(EditNode, node="w2", variables={"x": 1}),
        "another role": lambda f: f.accept(EditNode, node="w2", role="db"),
        "another status and role and bundle and last good bundle": lambda f: f.drive(
            f.submit(JobKind.COMMISSION, "w2", role="db")
        ),
        "another facts": lambda f: _seen(f, "w2", facts={"os": "Debian 13"}),
        "another failure domain": lambda f: f.accept(EditNode, node="w2", labels={"rack": "r9"}),
        "it is not known any more": lambda f: f.accept(ForgetNode, node="w2", force=True),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_is_refused_when_what_it_rests_on_has_moved_and_nothing_begins(
    fleet: Fleet, part: str, move: Any
) -> None:
    fleet.accept_role("w1", "web")
    fleet.accept_role("w2", "web")
    wanted = replace(request(rollout=Rollout(domain="rack")), role="")
    plan = record(fleet, wanted)
    move(fleet)
    running = fleet.state.running
    refused = fleet.refuse(Reason.CHANGED, SubmitJob, kind=JobKind.COMMISSION, plan=plan)
    assert refused.offenders == ("w2",)
    assert f"w2: {part}" in refused.message
    assert (fleet.state.running, fleet.state.plans[plan].used_by) == (running, "")


def test_global_variables_move_every_node_that_has_them_and_no_other(fleet: Fleet) -> None:
    fleet.accept(EditNode, node="w1", variables={"port": 1})
    plan = record(fleet, request())
    fleet.accept(SetGlobals, variables={"port": 2})
    refused = fleet.refuse(Reason.CHANGED, SubmitJob, kind=JobKind.COMMISSION, plan=plan)
    assert refused.offenders == ("w2",)


def test_what_a_plan_does_not_rest_on_may_move(fleet: Fleet) -> None:
    _seen(fleet, "w1", facts={"os": "Debian", "boot_id": "one"})
    plan = record(fleet, request())
    fleet.accept(EditNode, node="w1", labels={"rack": "r9"})
    fleet.accept(EditNode, node="w3", variables={"x": 1})
    fleet.accept(EditNode, node="w2", variables={"x": 1})
    fleet.accept(EditNode, node="w2", variables={"x": None})
    fleet.accept(ReportPresence, node="w1", presence=Presence.SUSPECT, reason="slow")
    _seen(fleet, "w1", facts={"boot_id": "two", "os": "Debian"}, endpoint=Endpoint(address="moved.example"))
    begin(fleet, plan)


def test_the_rules_of_every_submission_hold_for_planned_ones_too(fleet: Fleet) -> None:
    plan = record(fleet, request())
    fleet.accept(ReportPresence, node="w2", presence=Presence.UNREACHABLE, reason="silent")
    fleet.refuse(Reason.UNREACHABLE, SubmitJob, kind=JobKind.COMMISSION, plan=plan)
    fleet.accept(ReportPresence, node="w2", presence=Presence.REACHABLE)
    begin(fleet, plan)


def test_a_cordon_after_the_plan_is_respected(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.COMMISSION, "w1", "w2", role="web"))
    plan = record(fleet, request(JobKind.VERIFY))
    fleet.accept(SetMaintenance, node="w2", on=True, reason="disk")
    fleet.refuse(Reason.IN_MAINTENANCE, SubmitJob, kind=JobKind.VERIFY, plan=plan)
    assert not fleet.state.plans[plan].used_by


@pytest.mark.parametrize(
    "more",
    [
        {"nodes": (NodeName("w1"),)},
        {"selector": "*"},
        {"variables": {"a": 1}},
        {"max_parallel": 2},
        {"role": "db"},
        {"rollout": Rollout(below_minimum=True)},
        {"kind": JobKind.VERIFY},
    ],
    ids=str,
)
def test_nothing_can_be_added_to_a_plan_when_it_is_begun(fleet: Fleet, more: dict[str, Any]) -> None:
    plan = record(fleet, request())
    refused = fleet.refuse(
        Reason.INVALID, SubmitJob, **{"kind": JobKind.COMMISSION, "plan": plan, "reason": "go", **more}
    )
    assert refused.offenders == tuple(more)
    assert not fleet.state.running


def test_a_plan_that_needs_approval_waits_for_somebody_else_than_its_author(fleet: Fleet) -> None:
    plan = record(fleet, request(), needs_approval=True, actor="ann")
    refused = fleet.refuse(Reason.NOT_APPROVED, SubmitJob, kind=JobKind.COMMISSION, plan=plan, actor="bob")
    assert f"hamgr plan approve {plan[:12]}" in refused.hint
    own = fleet.refuse(Reason.NOT_ALLOWED, ApprovePlan, plan=plan, actor="ann")
    assert "ann wrote plan" in own.message
    fleet.accept(ApprovePlan, plan=plan, actor="bob")
    assert fleet.state.plans[plan].approved_by == "bob"
    fleet.accept(ApprovePlan, plan=plan, actor="eve")
    assert fleet.state.plans[plan].approved_by == "bob"
    begin(fleet, plan, actor="ann")


def test_recording_a_plan_again_changes_neither_author_nor_approval(fleet: Fleet) -> None:
    plan = record(fleet, request(), needs_approval=True, actor="ann")
    fleet.accept(ApprovePlan, plan=plan, actor="bob")
    assert record(fleet, request(), needs_approval=True, actor="bob") == plan
    assert (fleet.state.plans[plan].author, fleet.state.plans[plan].approved_by) == ("ann", "bob")
    fleet.refuse(Reason.NOT_ALLOWED, ApprovePlan, plan=plan, actor="ann")


def test_the_hash_says_everything_that_would_be_run(fleet: Fleet) -> None:
    base = planned(fleet, request())
    others = [
        request(JobKind.COMMISSION, "w1"),
        request(role="db"),
        request(bundle=Digest("")),
        request(variables={"a": 1}),
        request(max_parallel=1),
        request(max_failed=0),
        request(reason="x"),
        request(priority=1),
        request(rollout=Rollout(canary=1)),
    ]
    names = {planned(fleet, other)["plan"] for other in others}
    names |= {base["plan"], planned(fleet, request(), needs_approval=True)["plan"]}
    assert len(names) == len(others) + 2


def test_no_plan_is_recorded_under_a_hash_that_is_not_its_own(fleet: Fleet) -> None:
    right = planned(fleet, request(), needs_approval=True)
    for wrong in (
        {"request": request(variables={"a": 1})},
        {"needs_approval": False},
        {"plan": "0" * 64},
        {"plan": right["plan"].upper()},
    ):
        fleet.refuse(Reason.INVALID, RecordPlan, **{**right, **wrong})
    assert not fleet.state.plans


def test_a_plan_whose_grounds_moved_while_it_was_made_is_not_recorded(fleet: Fleet) -> None:
    right = planned(fleet, request())
    fleet.accept(EditNode, node="w1", variables={"x": 1})
    assert fleet.refuse(Reason.CHANGED, RecordPlan, **right).offenders == ("w1",)


@pytest.mark.parametrize(
    "wanted",
    [
        replace(request(), selector="*"),
        replace(request(), nodes=()),
        replace(request(), nodes=(NodeName("w1"), NodeName("w1"))),
        replace(request(), plan="0" * 64),
        request(JobKind.DISCOVER),
    ],
    ids=["selector", "no nodes", "a node twice", "a plan", "discover"],
)
def test_a_plan_names_its_nodes_one_by_one(fleet: Fleet, wanted: SubmitJob) -> None:
    fleet.refuse(Reason.INVALID, RecordPlan, **planned(fleet, wanted))


def test_the_oldest_plans_are_dropped_and_said_to_be(fleet: Fleet) -> None:
    names = [record(fleet, request(reason=str(number))) for number in range(PLANS_MAX + 2)]
    assert list(fleet.state.plans) == names[2:]
    fleet.refuse(Reason.NO_SUCH_PLAN, SubmitJob, kind=JobKind.COMMISSION, plan=names[0])
    begin(fleet, names[2])


def test_plans_weigh_no_more_than_their_bound_together(fleet: Fleet) -> None:
    big = {"blob": "x" * (PLANS_BYTES_MAX // 4)}
    names = [record(fleet, request(variables={**big, "n": number})) for number in range(5)]
    assert list(fleet.state.plans) == names[2:]
    assert sum(plan.weight for plan in fleet.state.plans.values()) <= PLANS_BYTES_MAX


def test_equal_plans_have_equal_hashes_however_their_maps_are_ordered(fleet: Fleet) -> None:
    one = planned(fleet, request(variables={"a": {"x": 1, "y": [1, {"p": 1, "q": 2}]}, "b": 2}))
    two = planned(fleet, request(variables={"b": 2, "a": {"y": [1, {"q": 2, "p": 1}], "x": 1}}))
    assert one["plan"] == two["plan"]


def test_the_hash_of_a_plan_never_changes_between_versions(fleet: Fleet) -> None:
    """Replicas of two versions must agree on it; with any change of what it is made of, raise `FORMAT`."""
    nodes = {NodeName("w1"): b"\x01" * 32}
    assert grounds.plan_hash(request(JobKind.VERIFY, "w1"), nodes, needs_approval=False) == (
        "022828d65788aa4b27d9beee36cfbb77efcc4f2e5204b5d0b36ddfacac3b8943"
    )
    assert grounds.preconditions(fleet.state, request())[NodeName("w1")].hex() == (
        "c87a936fc9cf44534b1cecd5cd7deea24ef0941204d404d4364103823fba4966"
    )


LAYERS: tuple[dict[str, Any], ...] = (
    {},
    {"a": 1},
    {"a": {"x": 1, "y": {"z": 1}}},
    {"a": {"x": None}, "b": [1, {"c": None}]},
    {"a": None, "b": 2},
    {"a": {"y": {"z": None, "w": 0}}},
)


@pytest.mark.parametrize("own", LAYERS, ids=str)
def test_nodes_rest_on_the_variables_that_they_would_have_and_on_nothing_else(
    fleet: Fleet, own: dict[str, Any]
) -> None:
    """Packed in parts, the variables of all layers are told apart exactly where their sum differs."""
    fleet.accept(EditNode, node="w1", variables=own)
    sums: dict[bytes, str] = {}
    digests: dict[str, bytes] = {}
    for below in LAYERS:
        fleet.state = replace(fleet.state, globals=below)
        for above in LAYERS:
            wanted = request(variables=above)
            layers = (*variables.layers(fleet.state, fleet.node("w1"), digest(1)), ("request", above))
            whole = json.dumps(variables.resolve(layers), sort_keys=True)
            seen = grounds.preconditions(fleet.state, wanted)[NodeName("w1")]
            assert sums.setdefault(seen, whole) == whole
            assert digests.setdefault(whole, seen) == seen
    assert len(sums) > 5


@pytest.mark.parametrize("last", LAYERS, ids=str)
def test_what_goes_by_what_a_node_has_rests_on_the_last_request_too(
    fleet: Fleet, last: dict[str, Any]
) -> None:
    for kind in (JobKind.DECOMMISSION, JobKind.COMMISSION):
        nodes = dict(fleet.state.nodes)
        nodes[NodeName("w1")] = replace(fleet.node("w1"), last_request={})
        before = grounds.preconditions(replace(fleet.state, nodes=nodes), request(kind))[NodeName("w1")]
        nodes = nodes | {NodeName("w1"): replace(fleet.node("w1"), last_request=last)}
        after = grounds.preconditions(replace(fleet.state, nodes=nodes), request(kind))[NodeName("w1")]
        moves = kind is JobKind.DECOMMISSION and any(value is not None for value in last.values())
        assert (before != after) is moves


def test_a_plan_of_a_thousand_nodes_is_small_and_cheap(fleet: Fleet) -> None:
    names = [f"n{number:04d}" for number in range(1000)]
    nodes = {
        NodeName(name): replace(
            fleet.node("w1"), name=NodeName(name), facts={"os": "Debian"}, variables={"id": name}
        )
        for name in names
    }
    state = replace(fleet.state, nodes={**fleet.state.nodes, **nodes})
    wanted = request(JobKind.COMMISSION, *names)
    begun = thread_time()
    seen = grounds.preconditions(state, wanted)
    spent_ms = (thread_time() - begun) * 1000
    command = RecordPlan(
        request_id=RequestId("r"),
        at=1.0,
        actor="ann",
        plan=grounds.plan_hash(wanted, seen, needs_approval=False),
        request=wanted,
        nodes=seen,
    )
    size = len(codec.encode_command(command))
    print(f"1,000 nodes: {spent_ms:.1f} ms for what a plan rests on, {size / 1024:.0f} KiB in the log")
    assert size < 64 * 1024


def _seen(fleet: Fleet, name: str, **fields: Any) -> None:
    endpoint = fields.get("endpoint", Endpoint(address=f"{name}.example"))
    fleet.sight(name, epoch=fleet.node(name).epoch, **{"endpoint": endpoint, **fields})

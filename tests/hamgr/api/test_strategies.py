"""Strategies in bodies: every unit that people write, every contradiction named, and nothing begun."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hamgr.api.strategies import RolloutBody, unkept_times
from hamgr.bundles.strategy import WindowModel
from statemachine.rollout import OnFailure, Promotion, Rollout, Window
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server

NIGHTS = {"cron": "0 22 * * sat", "duration": "4h", "zone": "Europe/Madrid"}
FULL = {
    "canary": 1,
    "promotion": "manual",
    "max_parallel": "50%",
    "domain": "rack",
    "min_healthy": "60s",
    "healthy_deadline": "5m",
    "progress_deadline": 1800,
    "max_failed": "5 %",
    "on_failure": "revert",
    "below_minimum": True,
    "windows": [NIGHTS],
    "start_at": "2023-11-20T00:00:00+01:00",
}


def job(rollout: Any = None, **more: Any) -> dict[str, Any]:
    body = {"kind": "commission", "nodes": ["w1", "w2", "w3"], "role": "web", **more}
    return body if rollout is None else {**body, "rollout": rollout}


async def test_a_whole_strategy_arrives_in_the_state_as_it_was_meant_and_is_shown(bundled: Server) -> None:
    status, made, _ = await bundled.call("POST", "/v1/jobs", job(FULL, priority=7))
    assert status == 202, made
    found = bundled.state.jobs[made["id"]]
    assert found.rollout == Rollout(
        canary=1,
        promotion=Promotion.MANUAL,
        max_parallel_percent=50,
        domain="rack",
        min_healthy_s=60,
        healthy_deadline_s=300,
        progress_deadline_s=1800,
        max_failed_percent=5,
        on_failure=OnFailure.REVERT,
        below_minimum=True,
        windows=(Window(cron="0 22 * * sat", duration_s=4 * 3600, zone="Europe/Madrid"),),
        start_at=1_700_434_800.0,
    )
    assert (found.max_parallel, found.max_failed, found.priority) == (1, 0, 7)
    _, shown, _ = await bundled.call("GET", f"/v1/jobs/{made['id']}")
    assert shown["rollout"] == {
        **FULL,
        "name": None,
        "min_healthy": 60,
        "healthy_deadline": 300,
        "max_failed": "5%",
        "windows": [{**NIGHTS, "duration": 14_400}],
        "start_at": 1_700_434_800,
    }
    assert [(hold["kind"], hold["way_out"]) for hold in shown["holds"]] == [("scheduled", ""), ("window", "")]
    assert (shown["priority"], shown["waves"]) == (7, {"total": 3, "open": 0})


async def test_counts_may_stand_in_the_strategy_or_beside_it_but_must_agree(bundled: Server) -> None:
    status, made, _ = await bundled.call("POST", "/v1/jobs", job({"max_parallel": 2, "max_failed": 1}))
    assert status == 202
    found = bundled.state.jobs[made["id"]]
    assert (found.max_parallel, found.max_failed, found.rollout) == (2, 1, Rollout())
    body = job({"max_parallel": "50%", "max_failed": 0}, max_parallel=2, max_failed=1)
    status, problem, _ = await bundled.call("POST", "/v1/jobs", body)
    assert (status, problem["code"]) == (422, "bad-body")
    assert {fault["pointer"]: fault["message"] for fault in problem["errors"]} == {
        "/rollout/max_parallel": "is 50%, and /max_parallel is 2",
        "/rollout/max_failed": "is 0, and /max_failed is 1",
    }


@pytest.mark.parametrize(
    ("rollout", "pointer", "says"),
    [
        ({"canari": 1}, "/rollout/canari", "is not a key"),
        ({"canary": "1"}, "/rollout/canary", "integer"),
        ({"canary": True}, "/rollout/canary", "integer"),
        ({"promotion": "later"}, "/rollout/promotion", "'automatic' or 'manual'"),
        ({"on_failure": "panic"}, "/rollout/on_failure", "'stop', 'pause' or 'revert'"),
        ({"max_parallel": 0}, "/rollout/max_parallel", "a number of nodes from 1"),
        ({"max_parallel": "0%"}, "/rollout/max_parallel", "share of nothing"),
        ({"max_parallel": "12.5%"}, "/rollout/max_parallel", "a share like '25%'"),
        ({"max_parallel": True}, "/rollout/max_parallel", "a number of nodes"),
        ({"max_failed": -1}, "/rollout/max_failed", "a number of nodes from 0"),
        ({"min_healthy": "soon"}, "/rollout/min_healthy", "a time like '90s'"),
        ({"min_healthy": -1}, "/rollout/min_healthy", "between 0 and 30 days"),
        ({"min_healthy": "1e9"}, "/rollout/min_healthy", "a time like"),
        ({"progress_deadline": "31d"}, "/rollout/progress_deadline", "between 0 and 30 days"),
        ({"progress_deadline": True}, "/rollout/progress_deadline", "a time like"),
        ({"start_at": "tomorrow"}, "/rollout/start_at", "a moment like"),
        ({"start_at": "2023-11-20T00:00:00"}, "/rollout/start_at", "in which time zone"),
        ({"start_at": rig.NOW - 3600}, "/rollout/start_at", "has passed"),
        ({"start_at": "2022-11-20T00:00Z"}, "/rollout/start_at", "has passed"),
        ({"start_at": rig.NOW + 400 * 86_400}, "/rollout/start_at", "more than a year away"),
        ({"start_at": 1e11}, "/rollout/start_at", "more than a year away"),
        ({"windows": [{**NIGHTS, "cron": "0 25 * * *"}]}, "/rollout/windows/0", "'0 25 * * *' names no time"),
        ({"windows": [NIGHTS, {**NIGHTS, "cron": "often"}]}, "/rollout/windows/1", "'often' names no time"),
        ({"windows": [{**NIGHTS, "cron": "0 0 31 2 *"}]}, "/rollout/windows/0", "0 0 31 2 *"),
        (
            {"windows": [{**NIGHTS, "zone": "Europe/Madri"}]},
            "/rollout/windows/0",
            "'Europe/Madri' is no",
        ),
        ({"windows": [{**NIGHTS, "cron": "0 0 * 2 1#5"}]}, "/rollout/windows/0", "'0 0 * 2 1#5' never opens"),
        ({"windows": [{**NIGHTS, "zone": "../../etc"}]}, "/rollout/windows/0", "is no time zone"),
        ({"windows": [{**NIGHTS, "duration": 1}]}, "/rollout/windows/0", "lasts 1 s"),
        ({"windows": [{**NIGHTS, "duration": "8d"}]}, "/rollout/windows/0", "7 days"),
        ({"windows": [{**NIGHTS, "days": 1}]}, "/rollout/windows/0/days", "is not a key"),
        ({"windows": [{"cron": "0 1 * * *"}]}, "/rollout/windows/0/duration", "is missing"),
        ({"windows": [NIGHTS] * 17}, "/rollout/windows", "at most 16"),
        (["careful"], "/rollout", "dictionary or instance"),
    ],
    ids=repr,
)
async def test_what_cannot_be_read_is_refused_with_its_place(
    bundled: Server, rollout: Any, pointer: str, says: str
) -> None:
    before = bundled.state
    status, problem, _ = await bundled.call("POST", "/v1/jobs", job(rollout))
    assert (status, problem["code"]) == (422, "bad-body"), problem
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert says in problem["errors"][0]["message"]
    assert bundled.state is before


async def test_an_unknown_key_is_told_with_the_one_that_was_meant(bundled: Server) -> None:
    body = job({"canari": 1, "windows": [{**NIGHTS, "zones": "UTC"}]})
    _, problem, _ = await bundled.call("POST", "/v1/jobs", body)
    assert [fault["hint"] for fault in problem["errors"]] == [
        "did you mean 'zone'?",
        "did you mean 'canary'?",
    ]


async def test_all_contradictions_of_a_strategy_are_named_at_once(bundled: Server) -> None:
    body = job({"canary": 4, "min_healthy": "2m", "healthy_deadline": "1m", "max_failed": "101%"})
    for path in ("/v1/jobs", "/v1/jobs?dry_run=1"):
        status, problem, _ = await bundled.call("POST", path, body)
        assert (status, problem["code"]) == (422, "invalid")
        for says in ("4 canaries are asked for, of 3 nodes", "101 %", "has only 60 s"):
            assert says in problem["detail"]
    assert not bundled.state.running


async def test_a_priority_out_of_bounds_is_refused(bundled: Server) -> None:
    for priority in (101, -(2**62)):
        status, problem, _ = await bundled.call("POST", "/v1/jobs", job(priority=priority))
        assert (status, problem["code"]) == (422, "invalid")
    assert not bundled.state.running


async def test_a_discovery_walks_no_nodes_so_it_takes_no_strategy(server: Server) -> None:
    body = {"kind": "discover", "addresses": ["10.0.0.1"], "rollout": {"canary": 1}, "priority": 1}
    status, problem, _ = await server.call("POST", "/v1/jobs", body)
    assert status == 422
    assert [fault["pointer"] for fault in problem["errors"]] == ["/priority", "/rollout"]


async def test_a_dry_run_marks_canaries_and_says_from_which_bundle_to_which(bundled: Server) -> None:
    status, plan, _ = await bundled.call("POST", "/v1/jobs?dry_run=1", job({"canary": 1}))
    assert (status, plan["canary"], plan["waves"]) == (200, 1, [["w1"], ["w2", "w3"]])
    assert plan["moves"] == [{"from": None, "to": bundled.state.current_bundle, "nodes": 3}]


TEXTS = st.sampled_from(
    ["25%", "5m", "999999999d", "0 22 * * sat", "* * * * *", "UTC", "9999-12-31T23:59Z", ""]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | TEXTS
WINDOWS = st.lists(st.dictionaries(st.sampled_from(sorted(WindowModel.model_fields)), LEAVES), max_size=3)
GOOD_WINDOWS = st.fixed_dictionaries({"cron": TEXTS, "duration": TEXTS, "zone": st.text(max_size=8) | TEXTS})


@given(
    body=st.dictionaries(
        st.sampled_from(sorted(RolloutBody.model_fields)),
        LEAVES | WINDOWS | st.lists(GOOD_WINDOWS, max_size=3),
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_strategy_is_refused_or_can_be_judged(body: dict[str, Any]) -> None:
    try:
        found = RolloutBody.model_validate(body).rollout()
    except ValidationError:
        return
    for fault in unkept_times(found, rig.NOW):
        assert fault.pointer.startswith("/rollout/")


async def test_a_text_or_a_name_means_a_strategy_of_the_bundle(bundled: Server) -> None:
    before = bundled.state
    for rollout in ("careful", {"name": "careful", "canary": 1}):
        status, problem, _ = await bundled.call("POST", "/v1/jobs", job(rollout))
        assert (status, problem["code"], problem["offenders"]) == (422, "invalid", ["careful"]), problem
        assert "no rollout 'careful'" in problem["detail"]
    assert bundled.state.jobs == before.jobs


async def test_a_plan_keeps_the_strategy_that_it_showed_whatever_is_pushed_later(bundled: Server) -> None:
    await push(bundled, "rollouts: {quick: {max_parallel: 2}}\ndefault_rollouts: {commission: quick}\n")
    status, plan, _ = await bundled.call("POST", "/v1/plans", job())
    assert (status, plan["rollout"], plan["max_parallel"]) == (201, "quick", 2), plan
    await push(bundled, "rollouts: {quick: {max_parallel: 1}}\n")
    status, made, _ = await bundled.call("POST", f"/v1/plans/{plan['hash']}:apply", {})
    assert status == 202, made
    found = bundled.state.jobs[made["id"]]
    assert (found.rollout.name, found.max_parallel) == ("quick", 2)
    _, shown, _ = await bundled.call("GET", "/v1/bundles/" + bundled.state.current_bundle)
    assert (shown["rollouts"]["quick"]["max_parallel"], shown["default_rollouts"]) == (1, {})


async def push(server: Server, rollouts: str) -> None:
    """Make a bundle with `rollouts` the current one."""
    files = {**rig.BUNDLE, "hamgr.yaml": rig.BUNDLE["hamgr.yaml"] + rollouts}
    async with server.session.post(f"{server.url}/v1/bundles", data=rig.archive(files)) as answer:
        assert answer.status == 201, await answer.text()

"""Plans over HTTP: look first, keep the hash, have it approved, begin exactly that."""

from typing import Any

import pytest

from hamgr.jobs.sights import Verdict
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from statemachine.commands import EditNode, ReportPresence, SetGlobals
from statemachine.words import Presence
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server

COMMISSION: dict[str, Any] = {"kind": "commission", "selector": "w*", "role": "web", "max_parallel": 2}
DIFF = "--- /srv/index.html\n+++ /srv/index.html\n-bye\n+hello"
BOB = {"Authorization": f"Bearer {rig.TOKENS['bob']}"}


def edit(server: Server, node: str, **fields: Any) -> None:
    server.replica.cluster.apply(
        EditNode(request_id=rig.rid(), at=rig.NOW, actor="test", node=node, **fields)
    )


async def planned(server: Server, **more: Any) -> dict[str, Any]:
    status, plan, _ = await server.call("POST", "/v1/plans", {**COMMISSION, **more})
    assert status == 201, plan
    return dict(plan)


async def test_a_plan_tells_waves_steps_diffs_and_its_hash(bundled: Server) -> None:
    bundled.lookout.sees = {"w3": (Verdict.UNCHANGED, ""), "*": (Verdict.WOULD_CHANGE, DIFF)}
    status, plan, headers = await bundled.call("POST", "/v1/plans", COMMISSION)
    assert (status, headers["Location"]) == (201, f"/v1/plans/{plan['hash']}")
    assert (plan["waves"], plan["nodes"]) == ([["w1", "w2"], ["w3"]], ["w1", "w2", "w3"])
    assert plan["summary"] == {"would-change": 2, "unchanged": 1, "unknown": 0}
    assert (plan["changes"], plan["diffs"]) == (2, {"1": DIFF})
    first = plan["looks"][0]
    assert (first["node"], first["wave"], first["verdict"]) == ("w1", 0, "would-change")
    assert [(s["phase"], s["component"], s["step"], s["verdict"], s["diff"]) for s in first["steps"]] == [
        ("work", "web", "page", "would-change", "1"),
        ("verify", "web", "page", None, None),
    ]
    assert (plan["author"], plan["recorded"], plan["needs_approval"]) == ("operator", True, False)
    assert list(bundled.state.plans) == [plan["hash"]]
    assert not bundled.state.running


async def test_a_dry_run_looks_and_keeps_nothing(bundled: Server) -> None:
    before = bundled.state
    status, plan, _ = await bundled.call("POST", "/v1/plans?dry_run=1", COMMISSION)
    assert (status, plan["recorded"]) == (200, False)
    assert bundled.state is before
    assert (await planned(bundled))["hash"] == plan["hash"], "it names what would have been kept"


async def test_a_plan_is_begun_to_the_letter_and_once(bundled: Server) -> None:
    plan = await planned(bundled, variables={"port": 81}, reason="tonight")
    status, made, headers = await bundled.call("POST", f"/v1/plans/{plan['hash']}:apply", headers=BOB)
    assert (status, headers["Location"]) == (202, f"/v1/jobs/{made['id']}")
    job = bundled.state.jobs[made["id"]]
    assert (list(job.tasks), job.variables, job.reason, job.actor, job.plan) == (
        ["w1", "w2", "w3"],
        {"port": 81},
        "tonight",
        "bob",
        plan["hash"],
    )
    _, shown, _ = await bundled.call("GET", headers["Location"])
    assert shown["plan"] == plan["hash"]
    status, problem, _ = await bundled.call("POST", f"/v1/plans/{plan['hash']}:apply")
    assert (status, problem["code"]) == (409, "wrong-status")
    assert made["id"] in problem["detail"]


async def test_an_apply_that_is_repeated_with_its_key_is_answered_as_the_first(bundled: Server) -> None:
    plan = await planned(bundled)
    path = f"/v1/plans/{plan['hash']}:apply"
    answers = [await bundled.call("POST", path, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [(status, body["id"]) for status, body, _ in answers] == [(202, "j-4")] * 2


async def test_an_apply_can_be_tried_out(bundled: Server) -> None:
    plan = await planned(bundled)
    status, tried, _ = await bundled.call("POST", f"/v1/plans/{plan['hash']}:apply?dry_run=1")
    assert (status, tried["dry_run"]) == (200, True)
    assert not bundled.state.running


async def test_a_plan_is_refused_when_the_world_has_moved_and_says_who_and_what(bundled: Server) -> None:
    plan = await planned(bundled)
    edit(bundled, "w2", variables={"port": 1})
    edit(bundled, "w3", role="gateway")
    bundled.replica.cluster.apply(
        SetGlobals(request_id=rig.rid(), at=rig.NOW, actor="test", variables={"port": 8080})
    )
    status, problem, _ = await bundled.call("POST", f"/v1/plans/{plan['hash']}:apply")
    assert (status, problem["code"], problem["offenders"]) == (412, "changed", ["w2"])
    assert "w2: another variables" in problem["detail"]
    assert "plan anew" in problem["hint"]
    _, shown, _ = await bundled.call("GET", f"/v1/plans/{plan['hash']}")
    assert shown["moved"] == {"w2": "another variables"}
    assert not bundled.state.running


async def test_what_moves_while_the_nodes_are_looked_at_is_noticed(bundled: Server) -> None:
    bundled.lookout.meanwhile = lambda: edit(bundled, "w1", variables={"x": 1})
    status, problem, _ = await bundled.call("POST", "/v1/plans", COMMISSION)
    assert (status, problem["code"], problem["offenders"]) == (412, "changed", ["w1"])
    assert not bundled.state.plans


async def test_a_second_person_approves_the_hash_and_nobody_their_own(bundled: Server) -> None:
    plan = await planned(bundled, needs_approval=True)
    path = f"/v1/plans/{plan['hash']}"
    status, problem, _ = await bundled.call("POST", f"{path}:apply")
    assert (status, problem["code"]) == (409, "not-approved")
    status, problem, _ = await bundled.call("POST", f"{path}:approve")
    assert (status, problem["code"]) == (403, "not-allowed")
    status, _, _ = await bundled.call("POST", f"{path}:approve", headers=BOB)
    assert status == 200
    _, shown, _ = await bundled.call("GET", path)
    assert (shown["author"], shown["approved_by"], shown["needs_approval"]) == ("operator", "bob", True)
    status, _, _ = await bundled.call("POST", f"{path}:apply")
    assert status == 202


async def test_whoever_has_to_approve_sees_what_it_would_change_now(bundled: Server) -> None:
    plan = await planned(bundled, needs_approval=True)
    bundled.lookout.sees = {"*": (Verdict.WOULD_CHANGE, DIFF)}
    _, shown, _ = await bundled.call("GET", f"/v1/plans/{plan['hash']}?look=1", headers=BOB)
    assert shown["summary"]["would-change"] == 3
    assert shown["diffs"] == {"1": DIFF}
    assert shown["request"]["nodes"] == ["w1", "w2", "w3"]
    assert (shown["hash"], shown["author"]) == (plan["hash"], "operator")
    bundled.replica.cluster.apply(
        ReportPresence(
            request_id=rig.rid(),
            at=rig.NOW,
            actor="test",
            node="w2",
            presence=Presence.UNREACHABLE,
            reason="silent",
        )
    )
    status, shown, _ = await bundled.call("GET", f"/v1/plans/{plan['hash']}?look=1")
    assert (status, "w2 is unreachable" in shown["refused"]) == (200, True)


async def test_plans_are_listed_the_newest_first_and_found_by_the_beginning_of_their_hash(
    bundled: Server,
) -> None:
    first, second = await planned(bundled), await planned(bundled, reason="other")
    _, page, _ = await bundled.call("GET", "/v1/plans")
    assert [item["hash"] for item in page["items"]] == [second["hash"], first["hash"]]
    status, shown, _ = await bundled.call("GET", f"/v1/plans/{first['hash'][:10]}")
    assert (status, shown["hash"]) == (200, first["hash"])


@pytest.mark.parametrize("name", ["abc", "f" * 64, "%2e%2e", "x:y"])
async def test_an_unknown_plan_is_told_as_such(bundled: Server, name: str) -> None:
    await planned(bundled)
    for method, path in (("GET", ""), ("POST", ":approve"), ("POST", ":apply")):
        status, problem, _ = await bundled.call(method, f"/v1/plans/{name}{path}")
        assert (status, problem["code"]) in {(404, "no-such-plan"), (404, "no-such-route")}


async def test_a_plan_of_what_would_be_refused_is_refused_with_the_same_reason(bundled: Server) -> None:
    for body, code in (
        ({**COMMISSION, "role": "ghost"}, "no-such-role"),
        ({"kind": "upgrade", "nodes": ["w1"]}, "wrong-status"),
        ({"kind": "commission", "nodes": ["ghost"], "role": "web"}, "no-such-node"),
        ({"kind": "discover", "addresses": ["10.0.0.1"]}, "bad-body"),
        ({**COMMISSION, "needs_approval": "yes"}, "bad-body"),
    ):
        status, problem, _ = await bundled.call("POST", "/v1/plans", body)
        assert (400 <= status < 500, problem["code"]) == (True, code)
    assert not bundled.state.plans


async def test_risks_are_told_in_plain_words(bundled: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled.lookout.sees = {"w1": (Verdict.UNKNOWN, "")}
    bundled.lookout.errors = {"w3": "could not look: silence"}
    member = Member(id=ReplicaId("00000000-0000-0000-0000-000000000001"), name="r1", raft="w2.test:7001")
    monkeypatch.setattr(rig.NoMembers, "configuration", Configuration((member,)))
    bundled.replica.cluster.apply(
        ReportPresence(
            request_id=rig.rid(),
            at=rig.NOW,
            actor="test",
            node="w1",
            presence=Presence.SUSPECT,
            reason="slow",
        )
    )
    plan = await planned(bundled)
    assert plan["risks"] == [
        "wave 1 works on 1 of hamgr's 1 voters at once (r1);"
        " if they stop together, hamgr has no quorum: make the waves smaller",
        "w1: suspect: slow",
        "nobody could look at w3, so what would change there is not known",
    ]
    assert plan["looks"][2]["error"] == "could not look: silence"

"""Schedules over HTTP: made, shown, paused, dropped, and refused with the place of what is wrong."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.hamgr.api.rig import NOW, Server, discovered

NIGHTLY = {
    "name": "nightly",
    "cron": "0  3 * * *",
    "zone": "Europe/Madrid",
    "job": {"kind": "verify", "selector": "*", "max_parallel": 4, "reason": "every night"},
}


async def test_a_schedule_is_made_listed_shown_and_dropped(server: Server) -> None:
    status, made, headers = await server.call("POST", "/v1/schedules", NIGHTLY)
    assert (status, made["ref"], headers["Location"]) == (201, "nightly", "/v1/schedules/nightly")
    _, page, _ = await server.call("GET", "/v1/schedules")
    item = page["items"][0]
    assert (item["cron"], item["kind"], item["author"], item["paused"]) == (
        "0 3 * * *",
        "verify",
        "operator",
        "",
    )
    moment = datetime.fromtimestamp(item["next_at"], tz=ZoneInfo("Europe/Madrid"))
    assert (moment.hour, moment.minute) == (3, 0)
    assert NOW < item["next_at"] <= NOW + 86_400
    _, whole, _ = await server.call("GET", "/v1/schedules/nightly")
    assert (whole["request"]["selector"], whole["request"]["max_parallel"]) == ("*", 4)
    assert "request_id" not in whole["request"]
    status, _, _ = await server.call("DELETE", "/v1/schedules/nightly")
    assert status == 200
    status, problem, _ = await server.call("GET", "/v1/schedules/nightly")
    assert (status, problem["code"]) == (404, "no-such-schedule")


async def test_a_schedule_is_paused_and_goes_on_with_its_next_moment(server: Server) -> None:
    await server.call("POST", "/v1/schedules", NIGHTLY)
    status, _, _ = await server.call("POST", "/v1/schedules/nightly:pause", {"reason": "holidays"})
    assert status == 200
    _, item, _ = await server.call("GET", "/v1/schedules/nightly")
    assert (item["paused"], item["next_at"]) == ("holidays", None)
    status, problem, _ = await server.call("POST", "/v1/schedules/nightly:pause")
    assert (status, problem["code"]) == (409, "wrong-status")
    status, _, _ = await server.call("POST", "/v1/schedules/nightly:resume")
    assert status == 200
    _, item, _ = await server.call("GET", "/v1/schedules/nightly")
    assert item["next_at"] > NOW
    status, _, _ = await server.call("POST", "/v1/schedules/nobody:resume")
    assert status == 404


async def test_a_dry_run_keeps_nothing(server: Server) -> None:
    status, answer, _ = await server.call("POST", "/v1/schedules?dry_run=1", NIGHTLY)
    assert (status, answer["dry_run"]) == (200, True)
    assert server.state.schedules == {}


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"cron": "at three"}, "/cron"),
        ({"cron": "0 3 30 2 *"}, "/cron"),
        ({"zone": "Atlantis/Capital"}, "/zone"),
        ({"job": {"kind": "discover", "addresses": ["10.0.0.1"]}}, "/job/kind"),
        ({"job": {"kind": "verify", "selectr": "*"}}, "/job/selectr"),
        ({"when": "always"}, "/when"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place_and_nothing_is_kept(
    server: Server, wrong: dict[str, object], pointer: str
) -> None:
    status, problem, _ = await server.call("POST", "/v1/schedules", {**NIGHTLY, **wrong})
    assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
    assert server.state.schedules == {}


async def test_a_job_that_contradicts_itself_is_refused_before_its_first_moment(server: Server) -> None:
    discovered(server.replica.cluster, "web-1")
    wrong = {"kind": "verify", "selector": "*", "rollout": {"canary": 5}}
    status, problem, _ = await server.call("POST", "/v1/schedules", {**NIGHTLY, "job": wrong})
    assert (status, problem["code"]) == (422, "invalid")
    assert "canaries" in problem["detail"]

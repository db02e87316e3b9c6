"""Schedules on real daemons: a moment that finds nobody is made up for, once, whoever leads then."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import (
    PATIENCE_S,
    done,
    events,
    in_service,
    kill_leader,
    nothing_twice,
    now,
    succeeds,
)

pytestmark = pytest.mark.timeout(300)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))
AHEAD_S_MIN = 30
"""So long a moment must be away, for all that has to be said before it; nobody waits for it."""


def stop_all(fleet: Fleet) -> None:
    for name in fleet.cluster.names:
        fleet.cluster.processes.kill_replica(name)


def moment_to_come() -> datetime:
    """Return the first full minute that is far enough away."""
    soon = datetime.now(tz=UTC) + timedelta(seconds=AHEAD_S_MIN)
    return soon.replace(second=0, microsecond=0) + timedelta(minutes=1)


def add(fleet: Fleet, name: str, cron: str, zone: str = "UTC") -> None:
    job = {"kind": "upgrade", "nodes": ["n1"], "bundle": fleet.second}
    fleet.cluster.ask("POST", "/v1/schedules", {"name": name, "cron": cron, "zone": zone, "job": job}).ok()


def test_a_moment_that_nobody_saw_is_made_up_for_once_although_its_leader_dies_too(
    with_clock: Fleet,
) -> None:
    shared = with_clock
    in_service(shared, "n1")
    since = now(shared)
    moment = moment_to_come()
    local = moment.astimezone(KATHMANDU)
    add(shared, "local", f"{local.minute} {local.hour} * * *", "Asia/Kathmandu")
    add(shared, "rests", "* * * * *")
    shared.cluster.ask("POST", "/v1/schedules/rests:pause", {"reason": "frozen zone"}).ok()
    shown = shared.cluster.ask("GET", "/v1/schedules/local").ok()
    assert (shown["next_at"], shown["job"]) == (moment.timestamp(), None)

    assert not shared.cluster.ask("GET", "/v1/schedules/local").ok()["job"], "it came too early"
    stop_all(shared)
    assert time.time() < moment.timestamp(), "this machine stood still: somebody may have seen the moment"
    # Their machines were off until after the moment, as far as their clocks know.
    shared.cluster.set_clock(ahead_s=moment.timestamp() + 1 - time.time())
    shared.cluster.revive()
    job = shared.cluster.wait(
        "the job of the moment",
        lambda: shared.cluster.ask("GET", "/v1/schedules/local").ok()["job"],
        timeout_s=PATIENCE_S,
    )
    kill_leader(shared)
    succeeds(shared, job)

    shown = shared.cluster.ask("GET", "/v1/schedules/local").ok()
    assert (shown["job"], shown["fired_at"]) == (job, moment.timestamp())
    assert shown["next_at"] == (moment + timedelta(days=1)).timestamp()
    fired = events(shared, "schedule.fired", "local", since=since)
    assert [line.split(",")[0] for line in fired] == [f"began {job}"]
    assert done(shared, job, "n1") == ["work.01.app.first 1", "work.02.app.second 1"]
    nothing_twice(shared, "n1")

    rests = shared.cluster.ask("GET", "/v1/schedules/rests").ok()
    assert (rests["job"], rests["paused"]) == (None, "frozen zone")
    shared.cluster.ask("POST", "/v1/schedules/rests:resume", {}).ok()
    assert shared.cluster.ask("GET", "/v1/schedules/rests").ok()["next_at"] > moment.timestamp() + 1

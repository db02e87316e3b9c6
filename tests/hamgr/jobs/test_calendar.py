"""Schedules fire at their moments, whatever the leader's clock shows in between."""

import pytest

from hamgr.jobs.calendar import Calendar
from statemachine import codec
from statemachine.commands import SubmitJob
from statemachine.jobs.upkeep import Duty, ScheduleDue, duties
from statemachine.schedule_commands import PutSchedule
from statemachine.words import JobKind, RequestId
from tests.hamgr.jobs.small_fleet import Stopped, World
from tests.statemachine.fleet import AT


def _scheduled(world: World, cron: str, *, next_at: float, zone: str = "UTC") -> None:
    stamps = {"request_id": RequestId("x"), "at": 0.0, "actor": ""}
    verify = SubmitJob(**stamps, kind=JobKind.VERIFY, selector="role=web")
    world.cluster.apply(
        PutSchedule(
            request_id=RequestId("put"),
            at=next_at - 10,
            actor="ann",
            name="often",
            cron=cron,
            zone=zone,
            request=codec.encode_command(verify),
            next_at=next_at,
        )
    )


async def _see_to(world: World, due: Duty, clock: Stopped) -> None:
    """Have a leader that is new look at the calendar once, and then at what is due."""
    assert isinstance(due, ScheduleDue)
    calendar = Calendar(world.tools(clock))
    for _ in range(2):
        await calendar.see_to(due)


@pytest.mark.parametrize(
    ("late_s", "outcome"),
    [(0.0, "began"), (1_250.0, "50 s late"), (30.0, "began"), (7_000.0, "began")],
)
async def test_a_schedule_fires_the_newest_of_its_moments(late_s: float, outcome: str) -> None:
    world = World()
    _scheduled(world, "*/10 * * * *", next_at=AT - AT % 600 + 600)
    due = duties(world.cluster.state)[0]
    clock = Stopped(due.at + late_s)
    await _see_to(world, due, clock)
    found = world.cluster.state.schedules["often"]
    assert outcome in found.outcome
    assert found.next_at == clock.at - clock.at % 600 + 600
    assert len(world.cluster.state.running) == 1
    await _see_to(world, due, clock)  # a leader that has not heard of it yet
    assert len(world.cluster.state.running) == 1


async def test_a_moment_of_long_ago_is_skipped() -> None:
    world = World()
    noon = AT - AT % 86_400 + 86_400 / 2
    _scheduled(world, "0 12 * * *", next_at=noon)
    (due,) = duties(world.cluster.state)
    await _see_to(world, due, Stopped(noon + 7_200))
    found = world.cluster.state.schedules["often"]
    assert "nobody led the cluster" in found.outcome
    assert found.next_at == noon + 86_400
    assert not world.cluster.state.running


async def test_a_zone_that_a_replica_does_not_know_pauses_the_schedule_and_says_so() -> None:
    world = World()
    _scheduled(world, "0 12 * * *", next_at=AT, zone="Atlantis/Capital")
    (due,) = duties(world.cluster.state)
    await _see_to(world, due, Stopped(AT))
    assert "Atlantis/Capital" in world.cluster.state.schedules["often"].paused
    assert duties(world.cluster.state) == ()


def _first_moment_at(world: World) -> float:
    return world.cluster.state.schedules["often"].next_at


async def test_what_was_planned_by_a_clock_years_ahead_is_planned_anew() -> None:
    world = World()
    years_ahead = AT - AT % 86_400 + 3_650 * 86_400
    _scheduled(world, "0 12 * * *", next_at=years_ahead + 86_400 / 2)
    today = AT - AT % 86_400
    (due,) = duties(world.cluster.state)
    await Calendar(world.tools(Stopped(today))).see_to(due)
    assert _first_moment_at(world) == today + 86_400 / 2
    (event,) = [one for one in world.cluster.state.events if one.kind == "schedule.replanned"]
    assert "the clock has been set back" in event.message


@pytest.mark.parametrize("early_s", [1.0, 2 * 3_600.0])
async def test_a_moment_that_a_clock_ahead_has_fired_does_not_come_again(early_s: float) -> None:
    world = World()
    noon = AT - AT % 86_400 + 86_400 / 2
    _scheduled(world, "0 12 * * *", next_at=noon)
    (due,) = duties(world.cluster.state)
    await _see_to(world, due, Stopped(noon))
    (job,) = world.cluster.state.running
    (due,) = duties(world.cluster.state)
    clock = Stopped(noon - early_s)  # what it really was
    calendar = Calendar(world.tools(clock))
    await calendar.see_to(due)
    assert (_first_moment_at(world), world.cluster.state.running) == (noon + 86_400, (job,))


async def test_the_calendar_is_looked_at_again_when_the_clock_is_set_while_a_leader_waits() -> None:
    world = World()
    midnight = AT - AT % 86_400
    _scheduled(world, "0 12 * * *", next_at=midnight + 10 * 86_400 + 86_400 / 2)
    clock = Stopped(midnight + 10 * 86_400 + 86_400 / 4)
    (due,) = duties(world.cluster.state)
    calendar = Calendar(world.tools(clock))
    await calendar.see_to(due)
    assert _first_moment_at(world) == due.at
    clock.at = midnight
    await calendar.see_to(due)
    assert _first_moment_at(world) == midnight + 86_400 / 2

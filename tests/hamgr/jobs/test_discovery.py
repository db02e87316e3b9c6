"""Machines that moved are told from copies of machines by asking both addresses."""

import pytest

from backends.memory.node import MemoryNode
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.model import Endpoint
from statemachine.words import JobId
from tests.hamgr.jobs.small_fleet import World, story
from tests.statemachine.fleet import key_of

ELSEWHERE = Endpoint(address="10.9.9.9")


async def discovered(world: World) -> str:
    """Discover what is elsewhere; return why it was refused, or nothing."""
    job = JobId(world.ask(SubmitDiscovery, endpoints=(ELSEWHERE,)))
    await world.until(lambda: job not in world.cluster.state.running, within_s=30)
    (task,) = world.cluster.state.jobs[job].tasks.values()
    return task.error


def test_a_machine_that_answers_no_more_where_it_was_is_followed() -> None:
    async def tell(world: World) -> None:
        world.executor.detach("web-1.example")
        world.executor.attach(world.machines["web-1"], ELSEWHERE.address)
        assert await discovered(world) == ""
        assert world.node("web-1").endpoint == ELSEWHERE

    story(tell)


def test_a_machine_with_two_addresses_is_one_machine() -> None:
    async def tell(world: World) -> None:
        world.executor.attach(world.machines["web-1"], ELSEWHERE.address)
        assert await discovered(world) == ""
        assert set(world.cluster.state.nodes) == {"web-1", "web-2", "spare"}

    story(tell)


@pytest.mark.parametrize("up", [True, False])
def test_a_copy_is_refused_as_long_as_its_original_answers(up: bool) -> None:
    async def tell(world: World) -> None:
        copy = MemoryNode("web-1-copy", host_key=key_of("web-1"), machine_id="id-web-1")
        world.executor.attach(copy, ELSEWHERE.address)
        world.executor.set_up(world.machines["web-1"], up=up)
        was = world.node("web-1").endpoint
        error = await discovered(world)
        assert ("one is a copy of the other" in error) is up
        assert (world.node("web-1").endpoint == was) is up

    story(tell)

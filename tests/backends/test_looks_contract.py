"""What `backends.ports.NodeExecutor.look` promises, over every adapter."""

import asyncio

import pytest

from backends.ports import (
    LOOK_TAIL_BYTES,
    SCRIPT_BYTES_MAX,
    AttemptKey,
    AttemptState,
    CommandFailed,
    Look,
    TimedOut,
)
from tests.backends.worlds import World, large_work, work

KEY = AttemptKey(job="c1.7", step="web.install", attempt=1)


async def look(there: World, script: bytes, *, timeout_s: float = 20, output_bytes_max: int = 4096) -> Look:
    return await there.executor.look(
        there.host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max
    )


async def test_a_look_tells_output_and_exit_code_and_leaves_no_trace(there: World) -> None:
    assert await look(there, work(exit_code=3, output="seen")) == Look(exit_code=3, output=b"seen")
    assert there.launches() == []
    assert there.traces() == []
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 0


async def test_a_look_goes_beside_a_running_attempt_at_any_epoch(there: World) -> None:
    script = work(lasts_s=60)
    await there.executor.run(there.host, 900, KEY, script, wait_s=0)
    assert (await look(there, work(output="meanwhile"))).output == b"meanwhile"
    assert (await there.executor.status(there.host, 900, KEY)).state is AttemptState.RUNNING
    await there.executor.kill(there.host, 900, KEY)
    assert there.launches() == ["900 c1.7 web.install 1"]


async def test_a_long_output_is_cut_in_the_middle_and_says_so(there: World) -> None:
    seen = await look(there, large_work(500_000), output_bytes_max=10_000)
    assert (seen.exit_code, seen.truncated) == (0, True)
    assert seen.output == bytes(10_000 - 3) + b"end"
    whole = await look(there, large_work(10_000), output_bytes_max=10_000)
    assert (len(whole.output), whole.truncated) == (10_000, False)
    least = await look(there, large_work(10_000), output_bytes_max=LOOK_TAIL_BYTES)
    assert least.output == bytes(LOOK_TAIL_BYTES - 3) + b"end"


async def test_a_look_that_hangs_ends_and_the_node_can_be_used_at_once(there: World) -> None:
    await look(there, work())  # so that the time is not spent on the way
    with pytest.raises(TimedOut, match="had not looked in"):
        await look(there, work(lasts_s=600), timeout_s=1.5)
    assert (await look(there, work(output="again"))).output == b"again"
    done = await there.executor.run(there.host, 1, KEY, work(), wait_s=10)
    assert done.state is AttemptState.DONE


async def test_a_look_finds_its_way_over_a_connection_that_was_lost(there: World) -> None:
    await look(there, work())
    await there.drop_connections()
    assert (await look(there, work(output="back"))).output == b"back"


async def test_many_looks_at_once_all_see(there: World) -> None:
    seen = await asyncio.gather(*(look(there, work(output=f"no-{i}")) for i in range(12)))
    assert [one.output for one in seen] == [f"no-{i}".encode() for i in range(12)]


async def test_a_look_that_is_too_long_is_not_sent(there: World) -> None:
    with pytest.raises(CommandFailed, match="it was not sent"):
        await look(there, bytes(SCRIPT_BYTES_MAX + 1))

"""What `backends.ports.NodeExecutor` promises, over every adapter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from backends.ports import (
    OUTPUT_BYTES_MAX,
    SCRIPT_BYTES_MAX,
    AttemptKey,
    AttemptState,
    CommandFailed,
    Host,
    NodeBusy,
    NodeExecutor,
    Refused,
    ScriptMismatch,
    StaleEpoch,
    Unreachable,
)
from tests.backends.worlds import World, large_work, work

KEY = AttemptKey(job="c1.7", step="web.install", attempt=1)
SECOND = replace(KEY, attempt=2)
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q"

KILLED = {(AttemptState.DONE, 137), (AttemptState.LOST, None)}
"""A kill that comes at the very moment of the launch may take the supervisor too, which is then lost."""

Ask = Callable[[NodeExecutor, Host], Awaitable[object]]


async def _follow(executor: NodeExecutor, host: Host) -> None:
    async for _ in executor.follow(host, KEY, offset=0):
        pass


FENCED: dict[str, Ask] = {
    "fence": lambda executor, host: executor.fence(host, 5, job="c1.7"),
    "status": lambda executor, host: executor.status(host, 5, KEY),
    "run": lambda executor, host: executor.run(host, 5, KEY, work(), wait_s=5),
    "kill": lambda executor, host: executor.kill(host, 5, KEY),
}
VERBS = FENCED | {
    "read_log": lambda executor, host: executor.read_log(host, KEY, offset=0, bytes_max=10),
    "follow": _follow,
    "look": lambda executor, host: executor.look(host, work(), timeout_s=10, output_bytes_max=4096),
}
verbs = pytest.mark.parametrize("verb", VERBS)


async def test_a_probe_learns_who_answers_and_changes_nothing(there: World) -> None:
    report = await there.executor.probe(replace(there.host, host_key=""), timeout_s=10)
    assert report.host_key == there.host.host_key
    assert report.hostname == "one"
    assert len(report.machine_id) == 32
    assert report.epoch == 0
    assert {"os", "boot_id", "systemd"} <= report.facts.keys()
    assert there.launches() == []


async def test_a_probe_tells_the_highest_epoch_that_the_node_has_seen(there: World) -> None:
    await there.executor.fence(there.host, 41, job="c1.7")
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 41


async def test_a_probe_refuses_a_key_that_is_not_the_pinned_one(there: World) -> None:
    with pytest.raises(Refused, match="host key"):
        await there.executor.probe(replace(there.host, host_key=OTHER_KEY), timeout_s=10)


@verbs
async def test_a_node_without_a_pinned_key_is_refused_and_nothing_happens(there: World, verb: str) -> None:
    with pytest.raises(Refused, match="no host key is pinned"):
        await VERBS[verb](there.executor, replace(there.host, host_key=""))
    assert there.launches() == []
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 0


@verbs
async def test_a_node_with_another_key_is_refused_and_nothing_happens(there: World, verb: str) -> None:
    with pytest.raises(Refused, match="does not hold the host key that is pinned"):
        await VERBS[verb](there.executor, replace(there.host, host_key=OTHER_KEY))
    assert there.launches() == []
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 0


@verbs
async def test_a_login_that_is_not_accepted_is_refused_with_the_remedy(there: World, verb: str) -> None:
    with pytest.raises(Refused, match=r"add hamgr's key to ~\w+/\.ssh/authorized_keys"):
        await VERBS[verb](there.stranger, there.host)
    assert there.launches() == []
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 0


async def test_a_probe_that_may_not_log_in_is_refused(there: World) -> None:
    with pytest.raises(Refused, match="authorized_keys"):
        await there.stranger.probe(there.host, timeout_s=10)


@verbs
async def test_a_node_that_does_not_listen_is_unreachable_and_nothing_happens(
    there: World, verb: str
) -> None:
    await there.stop()
    with pytest.raises(Unreachable, match="nothing listens on"):
        await VERBS[verb](there.executor, there.host)
    await there.start()
    assert there.launches() == []
    assert (await there.executor.probe(there.host, timeout_s=10)).epoch == 0


async def test_a_probe_of_a_node_that_does_not_listen_is_unreachable(there: World) -> None:
    await there.stop()
    with pytest.raises(Unreachable, match="nothing listens on"):
        await there.executor.probe(there.host, timeout_s=10)


@pytest.mark.parametrize("verb", FENCED)
async def test_a_stale_epoch_is_refused_and_nothing_happens(there: World, verb: str) -> None:
    await there.executor.fence(there.host, 6, job="c1.7")
    with pytest.raises(StaleEpoch) as refusal:
        await FENCED[verb](there.executor, there.host)
    assert refusal.value.fence == 6
    assert there.launches() == []
    assert (await there.executor.status(there.host, 6, KEY)).state is AttemptState.ABSENT


async def test_every_verb_raises_the_fence(there: World) -> None:
    await there.executor.status(there.host, 3, KEY)
    await there.executor.run(there.host, 4, KEY, work(), wait_s=5)
    await there.executor.kill(there.host, 5, KEY)
    with pytest.raises(StaleEpoch) as refusal:
        await there.executor.fence(there.host, 4, job="c1.7")
    assert refusal.value.fence == 5


async def test_a_step_is_run_to_its_end_and_its_result_stays(there: World) -> None:
    script = work(exit_code=3, output="hello")
    done = await there.executor.run(there.host, 1, KEY, script, wait_s=10)
    assert (done.state, done.exit_code, done.adopted) == (AttemptState.DONE, 3, False)
    assert (done.output, done.output_bytes) == (b"hello", 5)
    again = await there.executor.run(there.host, 2, KEY, script, wait_s=10)
    assert again == replace(done, adopted=True)
    status = await there.executor.status(there.host, 2, KEY)
    assert (status.state, status.exit_code, status.output) == (AttemptState.DONE, 3, b"")
    assert there.launches() == ["1 c1.7 web.install 1"]


async def test_a_step_that_outlasts_the_wait_is_left_alone_and_adopted_later(there: World) -> None:
    script = work(lasts_s=0.6, output="end")
    first = await there.executor.run(there.host, 1, KEY, script, wait_s=0)
    assert (first.state, first.exit_code, first.adopted) == (AttemptState.RUNNING, None, False)
    assert (await there.executor.status(there.host, 1, KEY)).state is AttemptState.RUNNING
    second = await there.executor.run(there.host, 2, KEY, script, wait_s=10)
    assert (second.state, second.exit_code, second.adopted) == (AttemptState.DONE, 0, True)
    assert second.output == b"end"
    assert there.launches() == ["1 c1.7 web.install 1"]


async def test_a_wait_ends_when_the_step_does(there: World) -> None:
    await there.executor.fence(there.host, 1, job="c1.7")
    began = time.monotonic()
    done = await there.executor.run(there.host, 1, KEY, work(lasts_s=0.3), wait_s=90)
    assert done.state is AttemptState.DONE
    assert time.monotonic() - began < 60


async def test_an_attempt_that_was_never_launched_is_absent(there: World) -> None:
    assert (await there.executor.status(there.host, 1, KEY)).state is AttemptState.ABSENT
    assert (await there.executor.kill(there.host, 1, KEY)).state is AttemptState.ABSENT
    assert there.launches() == []


async def test_a_second_attempt_is_refused_while_one_runs(there: World) -> None:
    await there.executor.run(there.host, 1, KEY, work(lasts_s=5), wait_s=0)
    with pytest.raises(NodeBusy) as refusal:
        await there.executor.run(there.host, 1, SECOND, work(), wait_s=5)
    assert refusal.value.holder == "c1.7/web.install/1"
    assert there.launches() == ["1 c1.7 web.install 1"]
    assert (await there.executor.status(there.host, 1, SECOND)).state is AttemptState.ABSENT


async def test_another_script_under_the_same_name_is_refused(there: World) -> None:
    await there.executor.run(there.host, 1, KEY, work(), wait_s=5)
    with pytest.raises(ScriptMismatch):
        await there.executor.run(there.host, 1, KEY, work(exit_code=1), wait_s=5)
    assert there.launches() == ["1 c1.7 web.install 1"]
    assert (await there.executor.status(there.host, 1, KEY)).exit_code == 0


async def test_many_calls_at_once_launch_an_attempt_once(there: World) -> None:
    script = work(lasts_s=0.2, output="once")
    calls = [there.executor.run(there.host, 1, KEY, script, wait_s=20) for _ in range(8)]
    ends = await asyncio.gather(*calls)
    assert {(end.state, end.output) for end in ends} == {(AttemptState.DONE, b"once")}
    assert sum(not end.adopted for end in ends) == 1
    assert there.launches() == ["1 c1.7 web.install 1"]


async def test_a_killed_step_is_over_and_makes_room(there: World) -> None:
    await there.executor.run(there.host, 1, KEY, work(lasts_s=60), wait_s=0)
    killed = await there.executor.kill(there.host, 2, KEY)
    assert (killed.state, killed.exit_code) in KILLED
    after = await there.executor.run(there.host, 2, SECOND, work(), wait_s=10)
    assert (after.state, after.exit_code) == (AttemptState.DONE, 0)
    assert there.launches() == ["1 c1.7 web.install 1", "2 c1.7 web.install 2"]


async def test_who_waits_for_a_step_hears_of_its_kill(there: World) -> None:
    waiting = asyncio.ensure_future(there.executor.run(there.host, 1, KEY, work(lasts_s=60), wait_s=50))
    while not there.launches():
        await asyncio.sleep(0.02)
    await there.executor.kill(there.host, 1, KEY)
    end = await asyncio.wait_for(waiting, 10)
    assert (end.state, end.exit_code) in KILLED


async def test_a_step_that_ran_at_a_reboot_is_lost_and_not_started_again(there: World) -> None:
    script = work(lasts_s=60)
    await there.executor.run(there.host, 1, KEY, script, wait_s=0)
    await there.reboot()
    lost = await there.executor.run(there.host, 1, KEY, script, wait_s=5)
    assert lost.state is AttemptState.LOST
    assert lost.exit_code is None
    assert "reboot" in lost.reason
    assert there.launches() == ["1 c1.7 web.install 1"]
    second = await there.executor.run(there.host, 1, SECOND, work(), wait_s=10)
    assert second.state is AttemptState.DONE


async def test_a_result_and_the_fence_outlive_a_reboot(there: World) -> None:
    await there.executor.run(there.host, 7, KEY, work(exit_code=4, output="x"), wait_s=10)
    await there.reboot()
    done = await there.executor.status(there.host, 7, KEY)
    assert (done.state, done.exit_code) == (AttemptState.DONE, 4)
    with pytest.raises(StaleEpoch):
        await there.executor.status(there.host, 6, KEY)


async def test_a_connection_lost_in_the_middle_changes_nothing_for_the_step(there: World) -> None:
    script = work(lasts_s=0.8, output="whole")
    waiting = asyncio.ensure_future(there.executor.run(there.host, 1, KEY, script, wait_s=20))
    while not there.launches():
        await asyncio.sleep(0.02)
    await there.drop_connections()
    done = await waiting
    assert (done.state, done.exit_code, done.output) == (AttemptState.DONE, 0, b"whole")
    assert there.launches() == ["1 c1.7 web.install 1"]


async def test_a_step_goes_on_while_its_node_is_cut_off(there: World) -> None:
    script = work(lasts_s=0.4, output="alone")
    await there.executor.run(there.host, 1, KEY, script, wait_s=0)
    await there.stop()
    await asyncio.sleep(0.5)
    await there.start()
    done = await there.executor.run(there.host, 1, KEY, script, wait_s=10)
    assert (done.state, done.adopted, done.output) == (AttemptState.DONE, True, b"alone")
    assert there.launches() == ["1 c1.7 web.install 1"]


async def test_a_long_output_is_cut_to_its_tail_and_can_be_read_in_parts(there: World) -> None:
    done = await there.executor.run(there.host, 1, KEY, large_work(100_000), wait_s=20)
    assert done.output_bytes == 100_000
    assert len(done.output) == OUTPUT_BYTES_MAX
    assert done.output.endswith(b"\0end")
    part = await there.executor.read_log(there.host, KEY, offset=99_990, bytes_max=5)
    assert (part.offset, part.data, part.complete) == (99_990, bytes(5), False)
    rest = await there.executor.read_log(there.host, KEY, offset=99_995, bytes_max=50)
    assert (rest.data, rest.complete) == (bytes(2) + b"end", True)
    beyond = await there.executor.read_log(there.host, KEY, offset=100_000, bytes_max=50)
    assert (beyond.data, beyond.complete) == (b"", True)


async def test_the_log_of_an_attempt_that_never_was_cannot_be_read(there: World) -> None:
    with pytest.raises(CommandFailed):
        await there.executor.read_log(there.host, KEY, offset=0, bytes_max=10)
    with pytest.raises(CommandFailed):
        await _follow(there.executor, there.host)


async def test_following_yields_every_byte_once_and_ends_with_the_attempt(there: World) -> None:
    await there.executor.run(there.host, 1, KEY, work(lasts_s=0.5, output="0123456789"), wait_s=0)
    chunks = [chunk async for chunk in there.executor.follow(there.host, KEY, offset=4)]
    assert b"".join(chunk.data for chunk in chunks) == b"456789"
    assert [chunk.complete for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    position = 4
    for chunk in chunks:
        assert chunk.offset == position
        position += len(chunk.data)


async def test_a_fence_keeps_the_results_of_its_job_and_of_eight_others(there: World) -> None:
    for number in range(10):
        await there.executor.run(
            there.host, 1, AttemptKey(job=f"j{number}", step="s", attempt=1), work(), wait_s=9
        )
    await there.executor.fence(there.host, 1, job="j0")
    states = {}
    for number in range(10):
        key = AttemptKey(job=f"j{number}", step="s", attempt=1)
        states[number] = (await there.executor.status(there.host, 1, key)).state
    assert states == {1: AttemptState.ABSENT} | dict.fromkeys((0, *range(2, 10)), AttemptState.DONE)


async def test_a_script_that_is_too_long_is_not_sent(there: World) -> None:
    with pytest.raises(CommandFailed, match="it was not sent"):
        await there.executor.run(there.host, 1, KEY, bytes(SCRIPT_BYTES_MAX + 1), wait_s=1)
    assert there.launches() == []


@pytest.mark.parametrize("job", ["", "../x", "a;b", "A", "a b", "x" * 65, "a\n"])
async def test_a_name_that_no_node_knows_is_the_callers_mistake(there: World, job: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        await there.executor.run(there.host, 1, replace(KEY, job=job), work(), wait_s=1)
    assert there.launches() == []


async def test_a_closed_executor_reaches_nobody_and_steps_go_on(there: World) -> None:
    await there.executor.run(there.host, 1, KEY, work(lasts_s=0.3), wait_s=0)
    await there.executor.close()
    with pytest.raises(Unreachable, match="stopping"):
        await there.executor.status(there.host, 1, KEY)
    assert there.launches() == ["1 c1.7 web.install 1"]

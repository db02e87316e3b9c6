"""Where outputs come from: nodes that still run, grow or flood, and replicas that answer wrong or not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, CommandFailed
from hamgr.logs import sources
from hamgr.logs.pieces import Attempt
from hamgr.logs.sources import ReplicaPeerLogs, StillRunning, read_from_node
from hamgr.logs.whole import whole_in_state
from hamgr.raft.memory import MemoryCluster
from statemachine.model import OUTPUT_TAIL_BYTES_MAX, Result
from statemachine.words import Ending
from tests.hamgr.api import rig
from tests.hamgr.logs.kit import attempt, record

WHOSE = attempt()
KEY = AttemptKey(job=WHOSE.job, step=WHOSE.step, attempt=1)


async def printed(output: bytes, *, lasts_s: float = 0.0) -> tuple[MemoryExecutor, Any]:
    memory, node = MemoryExecutor(), MemoryNode(name="n1")
    host = memory.attach(node, "10.0.0.1")
    node.behaviour = lambda _key, _script: (lasts_s, 0, output)
    await memory.run(host, 1, KEY, b"x", wait_s=0.0)
    return memory, host


@pytest.mark.parametrize("size", [0, 1, 9_999, 10_000, 10_001, 500_000])
async def test_of_an_output_as_much_is_kept_as_is_wanted(size: int) -> None:
    output = bytes(index % 251 for index in range(size))
    memory, host = await printed(output)
    kept = await read_from_node(memory, host, WHOSE, bytes_max=10_000)
    assert (kept.size, len(kept.head) + len(kept.tail)) == (size, min(size, 10_000))
    assert output.startswith(kept.head)
    assert output.endswith(kept.tail)
    assert bool(kept.tail) == (size > 10_000)


async def test_what_still_runs_is_not_final() -> None:
    for size in (0, 100, 100_000):
        memory, host = await printed(b"x" * size, lasts_s=60.0)
        with pytest.raises(StillRunning):
            await read_from_node(memory, host, WHOSE, bytes_max=10_000)


async def test_an_attempt_that_never_was_is_the_nodes_word() -> None:
    memory, host = await printed(b"x")
    with pytest.raises(CommandFailed):
        await read_from_node(memory, host, attempt(2), bytes_max=10_000)


@pytest.mark.parametrize(
    ("output", "whole"),
    [
        (b"", True),
        (b"x" * 1000, True),
        (b"x" * OUTPUT_TAIL_BYTES_MAX, False),
        (b"x" * 5000, False),
        (b"\xff", False),
        (b"a\x00b", False),
        *[(b"y" * 10 + bytes([0x80] * n) + b"x" * (OUTPUT_TAIL_BYTES_MAX - n), False) for n in range(1, 4)],
        (("\u00e9" * 3000).encode()[1:], False),
    ],
)
def test_an_output_is_whole_in_the_state_only_if_it_is(output: bytes, whole: bool) -> None:  # noqa: FBT001, RUF100 (a case's expectation)
    text = (
        output[-OUTPUT_TAIL_BYTES_MAX:].decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    )
    tail = text.encode()[-OUTPUT_TAIL_BYTES_MAX:].decode(errors="ignore")  # as apply bounds it
    result = Result(step="s", attempt=1, ending=Ending.EXITED, exit_code=0, output_tail=tail)
    assert whole_in_state(result) is whole
    assert not whole or tail.encode() == output


@pytest.mark.parametrize("ending", sorted(set(Ending) - {Ending.EXITED, Ending.NOT_RUN}))
def test_an_output_whose_end_nobody_saw_is_never_whole_in_the_state(ending: Ending) -> None:
    assert not whole_in_state(Result(step="s", attempt=1, ending=ending, output_tail="x"))


async def fetched(urls: dict[str, str], *wanted: Attempt) -> dict[Attempt, bytes]:
    cluster = MemoryCluster(["r0", *urls], apis=urls)
    for name in ("r0", *urls):
        await cluster.replica(name).start()
    return await ReplicaPeerLogs(replica=cluster.replica("r0"), token=rig.TOKEN).fetch(wanted)


async def test_replicas_are_asked_over_http_for_what_the_ones_before_had_not(tmp_path: Path) -> None:
    one, two, three = attempt(1), attempt(2, node="n\u00f6de"), attempt(3)
    cluster = rig.Cluster()
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        r1.logs.records = {one: record(one)}
        r2.logs.records = {one: record(one, b"not asked for"), two: record(two, b"x" * 100_000)}
        found = await fetched({"r1": r1.url, "r2": r2.url, "r3": "http://127.0.0.1:1"}, one, two, three)
    assert found == {one: record(one), two: record(two, b"x" * 100_000)}


@pytest.mark.parametrize("trouble", ["damaged", "other", "cut", "long", "error", "silent"])
async def test_nothing_wrong_is_taken_from_a_replica(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SILENCE_S_MAX", 0.2)
    monkeypatch.setattr(sources, "ANSWER_BYTES_MAX", 1000)
    good, wrong = record(attempt(1)), bytearray(record(attempt(2), b"second"))

    async def answer(_request: web.Request) -> web.StreamResponse:
        if trouble == "silent":
            await asyncio.sleep(30)
        if trouble == "error":
            return web.Response(status=503)
        if trouble == "damaged":
            wrong[-1] ^= 1
        if trouble == "other":
            return web.Response(body=record(attempt(9)) + good)
        if trouble == "long":
            return web.Response(body=good + bytes(20 * 1024 * 1024))
        return web.Response(body=good + bytes(wrong[: -1 if trouble == "cut" else None]))

    app = web.Application()
    app.router.add_post(sources.FETCH_PATH, answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found = await fetched({"r1": f"http://127.0.0.1:{runner.addresses[0][1]}"}, attempt(1), attempt(2))
    await runner.cleanup()
    assert found == ({} if trouble in ("error", "silent") else {attempt(1): good})


async def test_a_request_for_stored_logs_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with rig.serving(tmp_path, rig.Cluster()) as server:
        good = WHOSE._asdict()
        for body in (
            {},
            {"attempts": [["j", "n", "s", 1]]},
            {"attempts": [good | {"number": "1"}]},
            {"attempts": [good | {"more": 1}]},
            {"attempts": [good] * 513},
        ):
            status, problem, _ = await server.call("POST", sources.FETCH_PATH, body)
            assert (status, problem["code"]) == (422, "bad-body"), body
        status, data, _ = await server.call("POST", sources.FETCH_PATH, {"attempts": [good]})
        assert (status, data) == (200, b"")
        status, _, _ = await server.call(
            "POST", sources.FETCH_PATH, {"attempts": []}, headers={"Authorization": ""}
        )
        assert status == 401

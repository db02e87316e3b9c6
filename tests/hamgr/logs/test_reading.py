"""A reader's cursor holds whatever happens: another replica, another source, a running step, a wiped node."""

import asyncio
from pathlib import Path

import pytest

from hamgr.jobs.logs import NodeLogs
from hamgr.logs import keeper as keeper_module
from hamgr.logs.asking import Cursor, LogLine, LogQuery
from statemachine.words import JobId, NodeName
from tests.hamgr.logs.scene import LONG, Scene, until

N1 = NodeName("n1")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "PASS_PAUSE_S", 0.01)
    monkeypatch.setattr(keeper_module, "RETRIES_S", (0.05, 0.1, 0.2))


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    await found.begin("n1", "n2")
    return found


def told(lines: list[LogLine]) -> bytes:
    return b"".join(line.data for line in lines)


async def test_each_source_continues_where_another_one_stopped(scene: Scene) -> None:
    """The node, the store, another replica's: a reader that is cut off anywhere gets the rest, once."""
    output = b"".join(b"%05d\n" % number for number in range(5_000))
    job = await scene.submit()
    for name in scene.names:
        scene.keeper(name)
    whose = await scene.step(job, output)
    cut = 12_345
    since = Cursor(step=whose.step, attempt=1, offset=cut)
    query = LogQuery(node=N1, since=since)
    assert told(await scene.read("r2", job, query)) == output[cut:]  # nobody has stored it: the node's
    async with scene.keeping("r1", "r3"):
        await scene.until_stored(whose, "r1", "r3")
        scene.memory.detach("10.0.0.1")
        assert told(await scene.read("r1", job, query)) == output[cut:]
        scene.keeper("r2")
        assert told(await scene.read("r2", job, query)) == output[cut:]  # from a peer
        assert {line.note for line in await scene.read("r2", job, query)} == {""}


async def test_a_cursor_that_means_nothing_any_more_begins_at_the_beginning(scene: Scene) -> None:
    job = await scene.submit()
    scene.keeper("r1")
    await scene.step(job)
    for since in (
        Cursor(step="work.09.app.gone", attempt=1, offset=5),
        Cursor(step="work.00.app.one", attempt=7, offset=5),
    ):
        assert told(await scene.read("r1", job, LogQuery(node=N1, since=since))) == LONG


async def test_what_came_before_the_cursors_attempt_is_passed_over(scene: Scene) -> None:
    job = await scene.submit()
    scene.keeper("r1")
    await scene.step(job, b"of the first step\n")
    second = await scene.step(job, b"of the second step\n")
    since = Cursor(step=second.step, attempt=1, offset=7)
    lines = await scene.read("r1", job, LogQuery(node=N1, since=since))
    assert [(line.offset, line.data) for line in lines] == [(7, b"second step\n")]


async def test_a_log_can_be_narrowed_to_a_step_or_an_attempt(scene: Scene) -> None:
    job = await scene.submit("n1", "n2")
    scene.keeper("r1")
    for node in ("n1", "n2"):
        await scene.step(job, b"one\n", node=node)
        await scene.step(job, b"two\n", node=node)
    for step, expected in (
        ("two", b"two\n"),
        ("app.one", b"one\n"),
        ("work.00.app.one", b"one\n"),
        ("ne", b""),
        ("work.00", b""),
    ):
        assert told(await scene.read("r1", job, LogQuery(step=step))) == 2 * expected, step
    assert told(await scene.read("r1", job, LogQuery(attempt=2))) == b""
    assert told(await scene.read("r1", job, LogQuery(node=N1, attempt=1))) == b"one\ntwo\n"


async def test_what_is_left_out_of_a_flood_is_one_piece_with_its_size(scene: Scene) -> None:
    flood = b"x" * 300_000
    async with scene.keeping():
        job = await scene.submit()
        whose = await scene.step(job, flood)
        await scene.until_stored(whose)
        lines = await scene.read("r2", job)
        gap = [line for line in lines if line.skipped_bytes]
        assert [line.skipped_bytes for line in gap] == [len(flood) - scene.attempt_bytes_max]
        assert str(gap[0].skipped_bytes) in gap[0].note
        places = [line.offset for line in lines] + [len(flood)]
        ends = [line.end.offset for line in lines]
        assert places[1:] == ends, "every byte is told, or told as left out"
        inside = LogQuery(node=N1, since=Cursor(step=whose.step, attempt=1, offset=100_000))
        assert (await scene.read("r3", job, inside))[0].offset == 100_000


async def follow(scene: Scene, name: str, job: JobId, query: LogQuery, into: list[LogLine]) -> None:
    logs = NodeLogs(
        replica=scene.cluster.replica(name), executor=scene.executors[name], kept=scene.keepers[name]
    )
    async for line in logs.follow(job, query):
        into.append(line)  # noqa: PERF401 - a reader that is cut off keeps what it has read


async def test_a_reader_that_moves_from_replica_to_replica_misses_and_repeats_nothing(scene: Scene) -> None:
    """It reads a running step from one replica, is cut off, and goes on with the cursor at another one."""
    output = b"".join(b"%06d\n" % number for number in range(3_000))
    async with scene.keeping():
        job = await scene.submit()
        key, _, epoch = await scene.announce(job)
        scene.nodes["n1"].behaviour = lambda _key, _script: (1.0, 0, output)
        lines: list[LogLine] = []
        running = asyncio.create_task(
            scene.executors["r1"].run(scene.hosts["n1"], epoch, key, b"x", wait_s=10.0)
        )
        for name in ("r1", "r2", "r3", "r1"):
            before = len(lines)
            query = LogQuery(node=N1, follow=True, since=lines[-1].end if lines else None)
            reader = asyncio.create_task(follow(scene, name, job, query, lines))
            await until(lambda before=before: len(lines) > before, "a line")
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        status = await running
        scene.cluster.elect("r2")
        query = LogQuery(node=N1, follow=True, since=lines[-1].end)
        reader = asyncio.create_task(follow(scene, "r3", job, query, lines))
        await scene.record(job, "n1", status.output)
        await scene.finish(job, output=b"the end\n")
        async with asyncio.timeout(10):
            await reader
    first = [line for line in lines if line.step == key.step]
    assert told(first) == output
    assert [line.offset for line in first] == [0, *[line.end.offset for line in first][:-1]]
    assert told(lines[len(first) :]) == b"the end\n" * 2


async def test_a_reader_of_all_nodes_is_told_of_each_and_ends_with_the_job(scene: Scene) -> None:
    scene.keeper("r1")
    job = await scene.submit("n1", "n2")
    lines: list[LogLine] = []
    reader = asyncio.create_task(follow(scene, "r1", job, LogQuery(follow=True), lines))
    await scene.step(job, b"one\n", node="n2")
    await until(lambda: len(lines) == 1, "the line of n2")
    for node in ("n1", "n2"):
        await scene.finish(job, node)
    async with asyncio.timeout(10):
        await reader
    assert told(lines) == b"one\n"


async def test_secrets_are_masked_the_same_from_every_source(tmp_path: Path) -> None:
    scene = Scene(tmp_path, secrets=("password",), variables={"password": "hunter2hunter2"})
    await scene.begin("n1")
    output = b"the password is hunter2hunter2, hunter2hunter2\n" * 100
    clean = output.replace(b"hunter2hunter2", b"*" * 14)
    for name in scene.names:
        scene.keeper(name)
    job = await scene.submit()
    whose = await scene.step(job, output)
    assert told(await scene.read("r2", job)) == clean  # from the node
    async with scene.keeping():
        await scene.until_stored(whose)
        assert told(await scene.read("r3", job)) == clean
    assert clean.decode().endswith(scene.state.jobs[job].tasks[N1].results[0].output_tail)
    for path in tmp_path.rglob("*.log"):
        assert scene.output(path.parent.name, whose) == clean


@pytest.mark.parametrize(
    "text", ["", "x", "a:b:c", "s:1:-1", "s:1:2:3", "S:1:2", "s:1:2\n", "s:9999999999:1"]
)
def test_a_cursor_that_is_none_is_taken_for_none(text: str) -> None:
    assert Cursor.parse(text) is None


def test_a_cursor_is_read_as_it_is_written() -> None:
    cursor = Cursor(step="work.00.app.one", attempt=3, offset=12)
    assert Cursor.parse(str(cursor)) == cursor

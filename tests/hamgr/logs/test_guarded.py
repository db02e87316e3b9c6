"""Nothing that comes back from a node carries a secret, whichever verb brings it and however it is cut."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import OUTPUT_BYTES_MAX, AttemptKey, AttemptState, NodeExecutor
from hamgr import failpoints
from hamgr.clock import SystemClock
from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.scripts import CannotPrepare
from hamgr.jobs.worker import TaskWorker, Tools
from hamgr.logs import concealed, guarded
from hamgr.logs.concealed import Masks
from hamgr.logs.guarded import GuardedExecutor, RecentOutputs
from hamgr.raft.memory import MemoryReplica
from statemachine.commands import EditNode, SetGlobals, SubmitJob
from statemachine.words import JobId, JobKind, NodeName
from tests.backends.worlds import World, world
from tests.hamgr.logs.scene import Scene

SECRET = b"correct horse battery staple"
STARS = b"*" * len(SECRET)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    found = Scene(
        tmp_path,
        names=("r1",),
        secrets=("password", "tls.key", "many", "pin"),
        variables={"password": SECRET.decode(), "tls": {"key": "line one\nline two\nab", "port": 8080}},
    )
    await found.begin("n1", "n2")
    found.keeper("r1")
    return found


async def test_what_an_attempt_printed_is_masked_whoever_asks(scene: Scene) -> None:
    executor, host = scene.executors["r1"], scene.hosts["n1"]
    key, _, _ = await scene.announce(await scene.submit())
    output = b"password=" + SECRET + b" port=8080 line two\n"
    clean = b"password=" + STARS + b" port=8080 ********\n"
    scene.nodes["n1"].behaviour = lambda _key, _script: (0.0, 0, output)
    assert (await executor.run(host, 1, key, b"x", wait_s=1.0)).output == clean
    for offset in range(len(output) + 1):
        for size in (1, 5, len(SECRET), len(output)):
            chunk = await executor.read_log(host, key, offset=offset, bytes_max=size)
            assert (chunk.offset, chunk.data) == (offset, clean[offset : offset + size])
            assert chunk.complete == (offset + size >= len(output))
            assert chunk.output_bytes == len(output)
    for offset in (0, 3, 9, 20, len(output)):
        chunks = [chunk async for chunk in executor.follow(host, key, offset=offset)]
        assert b"".join(chunk.data for chunk in chunks) == clean[offset:]
        assert chunks[-1].complete


async def test_a_running_attempt_shows_no_part_of_a_secret_and_nothing_moves(scene: Scene) -> None:
    executor, host = scene.executors["r1"], scene.hosts["n1"]
    key, _, _ = await scene.announce(await scene.submit())
    output, clean = (b"-" * 20 + SECRET) * 40, (b"-" * 20 + STARS) * 40
    scene.nodes["n1"].behaviour = lambda _key, _script: (0.4, 0, output)
    running = asyncio.create_task(executor.run(host, 1, key, b"x", wait_s=5.0))
    await asyncio.sleep(0.05)
    followed = b""
    async for chunk in executor.follow(host, key, offset=7):
        assert chunk.offset == 7 + len(followed)
        followed += chunk.data
        part = await executor.read_log(host, key, offset=5, bytes_max=4000)
        assert part.data == clean[5 : 5 + len(part.data)]
    assert followed == clean[7:]
    assert (await running).output == clean


async def test_the_tail_of_a_long_output_does_not_begin_with_half_a_secret(scene: Scene) -> None:
    executor, host = scene.executors["r1"], scene.hosts["n1"]
    key, _, _ = await scene.announce(await scene.submit())
    output = b"x" * 100 + SECRET + b"y" * (OUTPUT_BYTES_MAX - 10)
    scene.nodes["n1"].behaviour = lambda _key, _script: (0.0, 0, output)
    status = await executor.run(host, 1, key, b"x", wait_s=1.0)
    assert status.output == b"*" * 10 + b"y" * (OUTPUT_BYTES_MAX - 10)
    assert status.output_bytes == len(output)


async def test_a_killed_attempt_is_answered_with_its_masked_tail(scene: Scene) -> None:
    executor, host = scene.executors["r1"], scene.hosts["n1"]
    key, _, _ = await scene.announce(await scene.submit())
    scene.nodes["n1"].behaviour = lambda _key, _script: (0.0, 0, b"it is " + SECRET)
    await scene.memory.run(host, 1, key, b"x", wait_s=1.0)
    status = await executor.kill(host, 1, key)
    assert (status.state, status.output) == (AttemptState.DONE, b"it is " + STARS)


async def test_a_sentence_is_masked(scene: Scene) -> None:
    executor = scene.executors["r1"]
    assert isinstance(executor, GuardedExecutor)
    job = await scene.submit()
    assert executor.conceal(NodeName("n1"), job, f"bad {SECRET.decode()}") == "bad " + STARS.decode()


async def test_an_error_is_recorded_without_the_secrets_that_it_quotes_and_after_what_the_node_owes(
    scene: Scene,
) -> None:
    executor = scene.executors["r1"]
    assert isinstance(executor, GuardedExecutor)
    done: list[str] = []

    class NoScripts:
        async def script(self, state, job, node, due):
            raise CannotPrepare(f"the template says {SECRET.decode()}")

    async def before_fence(node: NodeName) -> None:
        done.extend((node, *(verb for _, verb in scene.calls)))

    replica, numbers = scene.cluster.replica("r1"), itertools.count()
    clock = SystemClock()
    tools = Tools(
        replica=replica,
        proposer=Proposer(replica=replica, clock=clock, new_id=lambda: f"w{next(numbers)}"),
        executor=executor,
        scripts=NoScripts(),
        clock=clock,
        failpoints=failpoints.none,
        settings=AttemptSettings(),
        before_fence=before_fence,
        conceal=executor.conceal,
    )
    accepted = await scene.do(SubmitJob, kind=JobKind.COMMISSION, nodes=(NodeName("n1"),), role="app")
    job = JobId(accepted.ref)
    await TaskWorker(tools=tools, job=job, node=NodeName("n1"), claimant="test").run()
    told = scene.state.jobs[job].tasks[NodeName("n1")]
    assert told.results[0].error == f"the template says {STARS.decode()}"
    assert SECRET.decode() not in f"{told} {scene.state.nodes} {scene.state.events}"
    assert done == ["n1"], "the node was called before that"
    assert ("n1", "fence") in scene.calls


async def test_what_is_secret_is_what_the_job_resolves_on_the_node(scene: Scene) -> None:
    await scene.do(SetGlobals, variables={"many": ["first one", {"deep": "second one"}, 123456, True]})
    await scene.do(EditNode, node=NodeName("n2"), variables={"password": "only on n2", "pin": "123"})
    job = await scene.submit("n1", "n2")
    masks = Masks()
    text = f"{SECRET.decode()}|first one|second one|123456|only on n2|8080|123|line one|True"
    one = masks.of(scene.state, NodeName("n1"), job).text(text)
    two = masks.of(scene.state, NodeName("n2"), job).text(text)
    stars = STARS.decode()
    assert one == f"{stars}|*********|**********|******|only on n2|8080|123|********|True"
    assert two == f"{SECRET.decode()}|*********|**********|******|**********|8080|123|********|True"
    assert masks.of(scene.state, NodeName("ghost"), job).text(text) == text


async def test_a_changed_secret_stays_hidden_in_what_was_started_with_it(scene: Scene) -> None:
    masks, job = Masks(), await scene.submit()
    masks.of(scene.state, NodeName("n1"), job)
    await scene.do(EditNode, node=NodeName("n1"), variables={"password": "the new one"})
    told = masks.of(scene.state, NodeName("n1"), job).text(f"{SECRET.decode()} the new one")
    assert set(told) == {"*", " "}
    assert masks.of(scene.state, NodeName("n1"), JobId("")).text("the new one") == "*" * 11


async def test_what_a_node_was_last_asked_for_is_secret_outside_of_jobs_too(scene: Scene) -> None:
    masks, name = Masks(), NodeName("n1")
    node = replace(scene.state.nodes[name], last_request={"password": "of a --set"})
    before = masks.of(scene.state, name, JobId(""))
    assert before.text("of a --set") == "of a --set"
    after = replace(scene.state, nodes={**scene.state.nodes, name: node})
    assert masks.of(after, name, JobId("")).text("of a --set") == "*" * 10


async def test_masks_that_are_remembered_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concealed, "MASKS_MAX", 3)
    masks = Masks()
    for number in range(10):
        assert masks.of(scene.state, NodeName("n1"), JobId(f"j-9{number}")).apply(SECRET) == STARS
    assert len(masks._kept) == 3


def test_recent_outputs_are_bounded_and_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentOutputs(bytes_max=250)
    keys = [AttemptKey(job="j", step="s", attempt=number) for number in range(1, 5)]
    for key in keys[:3]:
        recent.put("n1", key, b"x" * 100)
    recent.put("n1", keys[2], b"y" * 100)
    assert [recent.take("n1", key) for key in keys] == [None, b"x" * 100, b"y" * 100, None]
    assert recent.take("n1", keys[2]) is None
    assert recent._bytes == 0


async def test_an_output_is_remembered_only_when_it_is_whole_and_worth_it() -> None:
    recent, memory, node = RecentOutputs(), MemoryExecutor(), MemoryNode(name="n1")
    host = memory.attach(node, "10.0.0.1")
    scene_replica = Scene(Path("unused"), names=("r1",)).cluster.replica("r1")
    assert isinstance(scene_replica, MemoryReplica)
    executor: NodeExecutor = GuardedExecutor(memory, replica=scene_replica, recent=recent)
    for number, size in enumerate((10, guarded.RECENT_BYTES_MIN, OUTPUT_BYTES_MAX + 1), 1):
        node.behaviour = lambda _key, _script, size=size: (0.0, 0, b"x" * size)
        key = AttemptKey(job="j", step="s", attempt=number)
        await executor.run(host, 1, key, b"x", wait_s=1.0)
        found = recent.take("n1", key)
        assert (found is not None) == (size == guarded.RECENT_BYTES_MIN)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "ssh").mkdir()
    async with world("sandbox", tmp_path / "ssh") as running:
        yield running


async def test_over_ssh_a_log_is_masked_byte_for_byte_while_it_is_written(scene: Scene, there: World) -> None:
    """A secret that the script prints in two pieces, with a pause between them, is one."""
    scene.executors["r1"] = executor = GuardedExecutor(
        there.executor, replica=scene.cluster.replica("r1"), recent=RecentOutputs()
    )
    job = await scene.submit()
    key = AttemptKey(job=f"abcd1234-{job}", step="work.00.app.one", attempt=1)
    host = there.host.__class__(
        name="n1",
        address=there.host.address,
        port=there.host.port,
        user=there.host.user,
        host_key=there.host.host_key,
    )
    first, second = SECRET[:11].decode(), SECRET[11:].decode()
    script = f"printf 'a {first}'; sleep 0.3; printf '{second} b'; sleep 0.1; echo; echo end\n".encode()
    expected = b"a " + STARS + b" b\nend\n"
    running = asyncio.create_task(executor.run(host, 1, key, script, wait_s=20.0))
    followed, chunks = b"", 0
    while not followed.endswith(b"end\n"):
        try:
            async for chunk in executor.follow(host, key, offset=len(followed)):
                assert chunk.offset == len(followed)
                followed += chunk.data
                chunks += bool(chunk.data)
        except Exception:  # noqa: BLE001 - it has not been started yet
            await asyncio.sleep(0.02)
        assert expected.startswith(followed)
    assert followed == expected
    assert (await running).output == expected
    assert (await executor.read_log(host, key, offset=8, bytes_max=9)).data == expected[8:17]

"""Outputs reach every replica: from the node, from each other, whoever leads and whatever breaks."""

import asyncio
import logging
from pathlib import Path

import pytest

from backends.memory.faults import Fault
from hamgr.logs import keeper as keeper_module
from hamgr.logs import shelf as shelf_module
from hamgr.logs.store import LogStore, StoreUnusable
from statemachine.commands import ForgetNode
from statemachine.words import Ending, JobKind, NodeName
from tests.hamgr.logs.kit import noise
from tests.hamgr.logs.scene import LONG, Scene, until


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for pauses that are there to spare a real fleet."""
    monkeypatch.setattr(keeper_module, "PASS_PAUSE_S", 0.01)
    monkeypatch.setattr(keeper_module, "RETRIES_S", (0.05, 0.1, 0.2))


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    await found.begin("n1", "n2")
    return found


async def test_a_recorded_output_reaches_every_replica(scene: Scene) -> None:
    async with scene.keeping():
        job = await scene.submit("n1", "n2")
        attempts = [await scene.step(job, LONG + node.encode(), node=node) for node in ("n1", "n2")]
        for whose in attempts:
            await scene.until_stored(whose)
            for name in scene.names:
                assert scene.output(name, whose) == LONG + whose.node.encode()
        await until(lambda: not any(k.figures.owed_attempts for k in scene.keepers.values()))
    assert scene.read_calls() == 0, "what came back with the attempt is not read again"


async def test_an_output_that_did_not_come_back_with_the_attempt_is_read_once_from_the_node(
    scene: Scene,
) -> None:
    flood = b"0123456789abcdef" * 20_000
    async with scene.keeping():
        job = await scene.submit()
        whose = await scene.step(job, flood)
        await scene.until_stored(whose)
        kept = scene.stores["r2"].get(whose)
    assert kept is not None
    assert (kept.size, len(kept.head) + len(kept.tail)) == (len(flood), scene.attempt_bytes_max)
    assert (kept.head, kept.tail) == (flood[: len(kept.head)], flood[-len(kept.tail) :])
    assert scene.read_calls() <= 3, "what lies between is not even transferred"


async def test_a_short_output_is_owed_by_nobody_since_the_state_has_it(scene: Scene) -> None:
    async with scene.keeping():
        job = await scene.submit()
        await scene.step(job, b"all is well\n")
        whose = await scene.step(job, LONG)
        await scene.until_stored(whose)
        assert [line.data for line in await scene.read("r3", job)] == [b"all is well\n", LONG]
        assert scene.stores["r1"].stored_bytes < len(LONG)


async def test_a_new_leader_stores_what_the_old_one_left_between_recorded_and_stored(scene: Scene) -> None:
    job = await scene.submit()
    whose = await scene.step(job)  # nobody keeps anything yet: the leader died right after it recorded
    scene.cluster.crash("r1")
    async with scene.keeping("r2", "r3"):
        await scene.until_stored(whose, "r2", "r3")
    assert scene.output("r3", whose) == LONG
    scene.cluster.restart("r1")
    async with scene.keeping():
        await scene.until_stored(whose)


async def test_a_new_leader_takes_over_what_other_replicas_have_and_leaves_the_nodes_alone(
    scene: Scene,
) -> None:
    async with scene.keeping("r1", "r2"):
        job = await scene.submit()
        whose = await scene.step(job)
        await scene.until_stored(whose, "r1", "r2")
    scene.calls.clear()
    async with scene.keeping("r1", "r2"):
        scene.cluster.elect("r3")
        await until(lambda: scene.stores["r1"].settled(whose) and scene.stores["r2"].settled(whose))
        async with scene.keeping("r3"):
            await scene.until_stored(whose, "r3")
    assert scene.read_calls() == 0


async def test_a_stored_log_outlives_its_node(scene: Scene) -> None:
    async with scene.keeping():
        job = await scene.submit()
        whose = await scene.step(job)
        await scene.until_stored(whose)
        scene.memory.detach("10.0.0.1")
        for name in scene.names:
            assert b"".join(line.data for line in await scene.read(name, job)) == LONG


async def test_an_output_that_its_node_lost_before_it_was_stored_is_told_as_lost(scene: Scene) -> None:
    job = await scene.submit()
    whose = await scene.step(job)
    scene.nodes["n1"]._attempts.clear()  # it was installed anew
    async with scene.keeping():
        await scene.until_stored(whose)
        lines = await scene.read("r2", job)
        calls = len(scene.calls)
        await asyncio.sleep(0.5)
        assert len(scene.calls) <= calls + 1, "it is asked for ever"
    kept = scene.stores["r1"].get(whose)
    assert kept is not None
    assert "no attempt" in kept.note
    assert [line.data for line in lines] == [LONG[-1024:]]
    assert "the last part only" in lines[0].note


async def test_a_node_that_is_away_is_left_alone_until_it_is_heard_of(scene: Scene) -> None:
    job = await scene.submit("n1", "n2")
    lost, other = await scene.step(job, node="n1"), await scene.step(job, node="n2")
    scene.memory.set_up(scene.nodes["n1"], up=False)
    async with scene.keeping():
        await scene.until_stored(other)
        await until(lambda: scene.calls.count(("n1", "read_log")) == 4, "the last retry")
        await asyncio.sleep(0.3)
        assert scene.calls.count(("n1", "read_log")) == 4
        assert scene.keepers["r1"].figures.owed_attempts == 1
        scene.memory.set_up(scene.nodes["n1"], up=True)
        await scene.record(job, "n1", b"", ending=Ending.CANCELLED, exit_code=None)
        await scene.until_stored(lost)


async def test_a_full_disk_stops_neither_the_keeper_nor_the_others_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(LogStore):
        full = True

        def put(self, job, stored):
            if self.full and self._directory.name == "r1":
                raise StoreUnusable("the disk is full; make room")
            super().put(job, stored)

    scene = Scene(tmp_path, store_of=lambda folder: Full(folder, bytes_max=2**24, reserve_bytes=0))
    await scene.begin("n1")
    async with scene.keeping():
        job = await scene.submit()
        whose = await scene.step(job)
        await until(lambda: scene.keepers["r1"].figures.failing, "the failure")
        await scene.until_stored(whose, "r2", "r3")
        scene.memory.detach("10.0.0.1")
        assert b"".join(line.data for line in await scene.read("r1", job)) == LONG
        assert scene.read_calls() == 0, "what was read once waits in memory"
        assert [r.levelno for r in caplog.records if "cannot be stored" in r.message] == [logging.ERROR]
        Full.full = False
        await scene.until_stored(whose)
        await until(lambda: not scene.keepers["r1"].figures.failing, "the recovery")
    assert sum("cannot be stored" in r.message for r in caplog.records) == 1
    assert sum("stored again" in r.message for r in caplog.records) == 1


async def test_what_a_leader_cannot_store_is_bounded_in_memory_and_reaches_the_others_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(LogStore):
        def put(self, job, stored):
            if self._directory.name == "r1":
                raise StoreUnusable("the disk is full; make room")
            super().put(job, stored)

    monkeypatch.setattr(shelf_module, "GATHERED_BYTES_MAX", 2_000)
    monkeypatch.setattr(keeper_module, "PEER_RETRY_S_MAX", 0.02)
    names = tuple(f"n{number}" for number in range(1, 13))
    scene = Scene(
        tmp_path,
        names=("r1", "r2"),
        store_of=lambda folder: Full(folder, bytes_max=2**24, reserve_bytes=0),
        failure_pause_s=0.2,
    )
    await scene.begin(*names)
    job = await scene.submit(*names)
    attempts = [await scene.step(job, noise(3_000, place), node=name) for place, name in enumerate(names)]
    async with scene.keeping():
        most = 0
        for whose in attempts:
            await scene.until_stored(whose, "r2")
            most = max(most, scene.keepers["r1"]._shelf._gathered_bytes)
        assert scene.keepers["r1"].figures.owed_attempts == len(attempts)
    assert most <= 2_000 + 5 * 4_000, "what several nodes answered at once, and no more"


async def test_a_folder_that_cannot_be_used_at_first_is_used_when_it_can(tmp_path: Path) -> None:
    scene = Scene(tmp_path, names=("r1",))
    await scene.begin("n1")
    (tmp_path / "r1").write_text("in the way")
    async with scene.keeping():
        whose = await scene.step(await scene.submit())
        await until(lambda: scene.keepers["r1"].figures.failing, "the failure")
        (tmp_path / "r1").unlink()
        await scene.until_stored(whose)


async def test_a_damaged_log_is_read_from_another_replica_and_stored_anew(scene: Scene) -> None:
    async with scene.keeping():
        job = await scene.submit()
        whose = await scene.step(job)
        await scene.until_stored(whose)
        path = scene.folder / "r2" / f"{whose.job}.log"
        data = bytearray(path.read_bytes())
        data[-3] ^= 0xFF
        path.write_bytes(data)
        scene.memory.detach("10.0.0.1")
        lines = await scene.read("r2", job)
        assert b"".join(line.data for line in lines) == LONG
        assert {line.note for line in lines} == {""}
        await scene.until_stored(whose, "r2")
        assert scene.output("r2", whose) == LONG
        assert scene.keepers["r2"].figures.damaged == 1


async def test_before_a_runner_may_discard_an_output_it_is_stored(scene: Scene) -> None:
    job = await scene.submit()
    whose = await scene.step(job)
    await scene.finish(job)
    keeper = scene.keeper("r1")
    keeper._shelf._store.open()
    for _ in keeper._ledger.look(scene.state, []):
        pass
    for number in range(9):
        verify = await scene.submit(kind=JobKind.VERIFY)
        scene.calls.clear()
        await keeper.rescue(NodeName("n1"))
        assert bool(scene.read_calls()) == (number == 7), number
        await scene.finish(verify)
    assert scene.output("r1", whose) == LONG


async def test_a_rescue_does_not_hold_a_job_up_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "RESCUE_S", 0.05)
    monkeypatch.setattr(keeper_module, "RUNNER_JOBS_KEPT", 1)
    job = await scene.submit()
    await scene.step(job)
    await scene.finish(job)
    keeper = scene.keeper("r1")
    for _ in keeper._ledger.look(scene.state, []):
        pass
    await scene.submit(kind=JobKind.VERIFY)
    scene.fault = lambda _host, _verb: Fault(delay_s=30.0)
    async with asyncio.timeout(5):
        await keeper.rescue(NodeName("n1"))


async def test_logs_of_forgotten_jobs_and_of_other_clusters_are_removed_and_younger_ones_are_not(
    scene: Scene,
) -> None:
    folder = scene.folder / "r1"
    folder.mkdir()
    for name in ("abcd1234-j-0", "ffff0000-j-1", "abcd1234-j-99"):
        (folder / f"{name}.log").write_bytes(b"")
    async with scene.keeping():
        whose = await scene.step(await scene.submit())
        await scene.until_stored(whose)
        await until(lambda: len(list(folder.iterdir())) == 2)
    assert {path.stem for path in folder.iterdir()} == {whose.job, "abcd1234-j-99"}


async def test_an_output_of_a_forgotten_node_is_given_up(scene: Scene) -> None:
    job = await scene.submit()
    whose = await scene.step(job, exit_code=1)
    await scene.finish(job)
    await scene.do(ForgetNode, node=NodeName("n1"))
    async with scene.keeping("r1"):
        await scene.until_stored(whose, "r1")
    kept = scene.stores["r1"].get(whose)
    assert kept is not None
    assert "was forgotten" in kept.note


async def test_few_nodes_are_read_at_a_time(tmp_path: Path) -> None:
    at_once, most = 0, 0

    def slow(_host, verb):
        nonlocal at_once, most
        if verb == "read_log":
            at_once += 1
            most = max(most, at_once)
            asyncio.get_running_loop().call_later(0.02, done)
            return Fault(delay_s=0.02)
        return None

    def done() -> None:
        nonlocal at_once
        at_once -= 1

    names = tuple(f"n{number}" for number in range(1, 21))
    scene = Scene(tmp_path, names=("r1",))
    await scene.begin(*names)
    job = await scene.submit(*names)
    attempts = [await scene.step(job, node=name) for name in names]
    scene.fault = slow
    async with scene.keeping():
        for whose in attempts:
            await scene.until_stored(whose)
    assert 1 < most <= keeper_module.NODES_AT_ONCE


async def test_an_idle_fleet_is_left_alone(scene: Scene) -> None:
    async with scene.keeping():
        job = await scene.submit()
        await scene.until_stored(await scene.step(job))
        await scene.finish(job)
        await until(lambda: not any(k.figures.owed_attempts for k in scene.keepers.values()))
        scene.calls.clear()
        asked = [peers.asked for peers in scene.peers.values()]
        await asyncio.sleep(0.3)
        assert scene.calls == []
        assert [peers.asked for peers in scene.peers.values()] == asked

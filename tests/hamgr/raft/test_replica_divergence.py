"""A replica whose state is not the one that the majority has: it serves nothing until it has theirs."""

import dataclasses
import logging

import pytest

from hamgr.raft.divergence import KEPT_MAX, Divergence
from hamgr.raft.port import NoLeader, NotCommitted
from hamgr.raft.replica import RaftReplica
from statemachine import codec
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import running

LONG_S = 20.0
EVERY = 16


async def leader_of(replicas):
    return await kit.until(lambda: next((one for one in replicas if one.leadership.leads), None))


def meddle(replica):
    """Change the state of one replica behind everybody's back."""

    def request(_core):
        applier = replica._consensus.applier
        applier.state = dataclasses.replace(applier.state, globals={"meddled": True})

    replica._engine.ask(request)


async def add(replicas, first, count):
    """Add nodes through whoever serves."""
    for number in range(first, first + count):
        for turn in range(100):
            try:
                await replicas[turn % len(replicas)].propose(kit.add_node(f"n{number}"), timeout_s=2.0)
                break
            except (NotCommitted, NoLeader):
                continue
        else:
            raise AssertionError("nobody serves")


@pytest.mark.parametrize("which", ["leader", "follower"])
async def test_the_odd_one_out_stops_serving_keeps_its_files_and_comes_back_with_the_leaders_state(
    tmp_path, caplog, which
):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path, snapshot_entries=EVERY)]
    async with running(three):
        leader = await leader_of(three)
        await add([leader], 0, 2 * EVERY)
        odd = leader if which == "leader" else next(one for one in three if one is not leader)
        rest = [one for one in three if one is not odd]
        meddle(odd)
        await kit.until(lambda: "meddled" in odd.state.globals)
        with caplog.at_level(logging.WARNING):
            await add(rest, 2 * EVERY, 2 * EVERY)
            await kit.until(lambda: odd.figures.divergences == 1)
            await kit.until(lambda: not odd.figures.diverged)
        state = await odd.read(timeout_s=LONG_S)
        assert "meddled" not in state.globals
        assert len(state.nodes) == 4 * EVERY
        kept = [path for path in (tmp_path / odd.name).iterdir() if path.name.startswith("diverged-")]
        assert [sorted(file.name for file in path.iterdir()) for path in kept] == [["journal", "snapshot"]]
        said = [record.getMessage() for record in caplog.records if "serves" in record.getMessage()]
        assert "not the one that the majority has" in said[0]
        assert "serves again" in said[-1]
        assert not odd.figures.renounced
        await add(rest, 4 * EVERY, 2 * EVERY)
        await kit.until(lambda: len({codec.state_digest(one.state) for one in three}) == 1)
        assert [one.figures.divergences for one in rest] == [0, 0]


async def test_while_the_state_is_wrong_nothing_is_answered_from_it(tmp_path, monkeypatch):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path, snapshot_entries=EVERY)]
    async with running(three):
        leader = await leader_of(three)
        await add([leader], 0, EVERY)
        odd = next(one for one in three if one is not leader)
        monkeypatch.setattr(odd._consensus.core, "resynchronise", lambda: None)
        meddle(odd)
        await add([leader], EVERY, 2 * EVERY)
        await kit.until(lambda: odd.figures.diverged)
        with pytest.raises(NoLeader, match="not the one that the majority has"):
            await odd.read(timeout_s=1.0)
        with pytest.raises(NotCommitted, match="not the one that the majority has"):
            await odd.propose(kit.add_node("x"), timeout_s=1.0)
        figures = odd.figures
        assert figures.renounced
        assert str(tmp_path / odd.name / "diverged-") in figures.warning
        assert "x" not in (await leader.read(timeout_s=LONG_S)).nodes


def test_the_files_of_the_first_divergences_are_kept_and_no_more(tmp_path):
    (tmp_path / "journal").write_bytes(b"j")
    divergence = Divergence(tmp_path, me="me")
    for index in range(KEPT_MAX + 2):
        assert divergence.note(index + 1, b"0" * 32, ("me", "a", "b")) is False
        assert divergence.heard("a", index + 1, b"1" * 32, ("me", "a", "b")) is False
        assert divergence.heard("b", index + 1, b"1" * 32, ("me", "a", "b")) is True
        divergence.keep_files()
        divergence.keep_files()
        divergence.ended()
    assert sorted(path.name for path in tmp_path.glob("diverged-*")) == [
        "diverged-1",
        "diverged-2",
        "diverged-3",
    ]
    assert divergence.count == KEPT_MAX + 2
    assert (tmp_path / "diverged-1" / "journal").read_bytes() == b"j"
    assert not divergence.found


def test_files_that_cannot_be_kept_are_told_and_do_not_stop_the_rest(tmp_path, caplog):
    divergence = Divergence(tmp_path / "gone", me="me")
    divergence.keep_files()
    assert "could not be kept" in caplog.text

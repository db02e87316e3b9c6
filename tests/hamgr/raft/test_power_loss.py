"""Power is lost, also everywhere at once, and processes are killed: what was acknowledged is still there."""

import pytest

from hamgr.raft.old_core import Core
from hamgr.raft.port import CannotStart
from hamgr.raft.store.journal import Journal, LogBroken
from tests.hamgr.raft.rack import Rack, run

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_survives_any_loss_of_power(tmp_path, monkeypatch, seed):
    rack = Rack(tmp_path, seed, monkeypatch)
    run(rack, rounds=12)
    assert len(rack.history) > 20


def test_a_replica_that_answers_before_the_sync_loses_what_it_acknowledged(tmp_path, monkeypatch):
    """The test above is worth something only if it fails on such a replica."""
    sync = Journal.sync

    def sync_late(journal):
        if journal._lateness.random() < 0.03:
            sync(journal)

    monkeypatch.setattr(Journal, "sync", sync_late)
    for seed in (0, 3, 4):
        rack = Rack(tmp_path / str(seed), seed, monkeypatch, watching=False)
        monkeypatch.setattr(Journal, "_lateness", rack.random, raising=False)
        with pytest.raises((AssertionError, LogBroken, CannotStart)):
            run(rack, rounds=10)


def test_an_acknowledgement_before_the_sync_is_seen_as_it_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(Core, "_keep_promises", lambda core: core._outbox.release() or core._journal.sync())
    with pytest.raises(AssertionError, match="before its sync"):
        run(Rack(tmp_path, 1, monkeypatch), rounds=2)

"""What a replica says about its log waits for the disk; what it merely passes on does not."""

import pytest

from hamgr.raft.outbox import Outbox
from tests.hamgr.raft.test_core import append, core, leader_of, obeyed, settings

__all__ = ["core", "obeyed", "settings"]  # fixtures


class Line:
    """A transport that remembers."""

    def __init__(self):
        self.sent = []

    def send(self, node, message):
        self.sent.append((node, message["type"]))
        return True


@pytest.mark.parametrize(
    "kind", ["next_node_idx", "request_vote", "response_vote", "apply_command_response", "something new"]
)
def test_a_promise_is_held_until_it_is_released_and_leaves_once_and_in_order(kind):
    line = Line()
    outbox = Outbox(line)
    assert not outbox.waiting
    assert outbox.send("a", {"type": kind})
    assert outbox.send("b", {"type": kind})
    assert (line.sent, outbox.waiting) == ([], True)
    outbox.release()
    outbox.release()
    assert (line.sent, outbox.waiting) == ([("a", kind), ("b", kind)], False)


@pytest.mark.parametrize("kind", ["append_entries", "apply_command", "timeout_now"])
def test_what_promises_nothing_leaves_at_once(kind):
    line = Line()
    outbox = Outbox(line)
    assert outbox.send("a", {"type": kind})
    assert (line.sent, outbox.waiting) == ([("a", kind)], False)


@pytest.fixture
def order(core, monkeypatch):
    """What the core does to the outside, in order."""
    done = []
    monkeypatch.setattr(core._journal._storage, "sync", lambda _file: done.append("sync"))
    monkeypatch.setattr(core._outbox._inner, "send", lambda _node, said: done.append(said["type"]) or True)
    monkeypatch.setattr(core._outbox._inner, "_connectIfNecessary", lambda: None)
    core._SyncObj__connectedNodes.update(core.otherNodes)
    core._obey = lambda _entry: done.append("apply")
    return done


def test_entries_are_acknowledged_after_one_sync_for_all_of_them(core, order):
    append(core, *((b"\0a", index, 3) for index in range(2, 50)))
    assert order == ["sync", "next_node_idx"]


def test_an_acknowledgement_of_nothing_new_asks_nothing_of_the_disk(core, order):
    append(core, (b"\0a", 2, 3))
    order.clear()
    append(core, previous=(2, 3))
    append(core, previous=(2, 3))
    assert order == ["next_node_idx", "next_node_idx"]


def test_a_vote_leaves_after_its_sync(core, order):
    candidate = {"type": "request_vote", "term": 9, "last_log_index": 99, "last_log_term": 8}
    core._SyncObj__onMessageReceived(leader_of(core), candidate)
    assert order == []
    core.tick(0.0)
    assert order == ["sync", "response_vote"]


def test_a_candidate_asks_after_its_own_vote_is_synced(core, order):
    core._SyncObj__raftElectionDeadline = 0
    core.tick(0.0)
    assert order == ["sync", "request_vote", "request_vote"]


def test_a_leader_sends_before_its_own_sync_and_applies_after_it(core, order):
    core._SyncObj__raftElectionDeadline = 0
    core.tick(0.0)
    followers = sorted(core.otherNodes, key=str)
    core._SyncObj__onMessageReceived(followers[0], {"type": "response_vote", "term": core.term()})
    assert core.leads()
    core.submit(b"x", lambda *_answer: None)
    core.tick(0.0)
    order.clear()
    core._SyncObj__newAppendEntriesTime = 0
    core.tick(0.0)
    assert order == ["append_entries"] * 2
    acknowledged = {"type": "next_node_idx", "next_node_idx": 4, "reset": False, "success": True}
    core._SyncObj__onMessageReceived(followers[0], acknowledged)
    core._SyncObj__newAppendEntriesTime = float("inf")
    core.tick(0.0)
    assert order[2:4] == ["sync", "apply"]

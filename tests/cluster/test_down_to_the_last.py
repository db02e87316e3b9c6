"""Real replicas are lost one by one, by halves, and a majority at once: who goes on, and who refuses.

Voters are dead after 2 s here, and after 10 s by default.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.writer import Writer

pytestmark = pytest.mark.timeout(150)

PACE = {"dead_s": 2.0, "stable_s": 1.0}


@contextmanager
def started(directory: Path, replicas: int) -> Iterator[Cluster]:
    running = Cluster(directory, replicas=replicas)
    for plan in running.layout.replicas:
        settings = json.loads(plan.config.read_text())
        plan.config.write_text(json.dumps({**settings, "autopilot": PACE}))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def five(tmp_path: Path) -> Iterator[Cluster]:
    with started(tmp_path / "cluster", 5) as cluster:
        yield cluster


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Cluster]:
    with started(tmp_path / "cluster", 4) as cluster:
        yield cluster


def alive(cluster: Cluster) -> list[str]:
    dead = cluster.dead()
    return [name for name in cluster.names if name not in dead]


def voters(cluster: Cluster) -> list[str]:
    """Return who votes, as the leader says; empty when there is none."""
    leader = cluster.leader()
    answer: Any = cluster.on(leader, "GET", "/v1/replica") if leader else None
    return answer.body["consensus"]["voters"] if answer is not None and answer.status == 200 else []


def write(cluster: Cluster, key: str) -> None:
    cluster.ask("PATCH", "/v1/globals", {"variables": {key: 1}}).ok()


def values(cluster: Cluster) -> set[str]:
    return set(cluster.ask("GET", "/v1/globals").ok()["variables"])


def settle(cluster: Cluster, rest: list[str]) -> None:
    cluster.wait(f"{rest} as voters", lambda: sorted(voters(cluster)) == rest)


def remembers(cluster: Cluster, name: str) -> bool:
    """Return whether a replica has applied the first write; a minority may learn of it later."""
    told = cluster.on(name, "GET", "/v1/globals?consistency=stale")
    return told.status == 200 and "first" in told.body["variables"]


def refusal(cluster: Cluster, name: str) -> int:
    """Return how a write is refused; 0 while its outcome is unknown: a leader that died can have had it."""
    status = cluster.on(name, "PATCH", "/v1/globals", {"variables": {"unknown": 1}}, timeout_s=20.0).status
    return 0 if status == 504 else status


def refuses(cluster: Cluster, name: str) -> None:
    """See that a replica without a quorum writes nothing, says so, and tells what it remembers as such."""
    cluster.wait("that it is not ready", lambda: cluster.on(name, "GET", "/readyz").status == 503)
    assert cluster.wait("a refusal", lambda: refusal(cluster, name)) == 503
    told = cluster.on(name, "GET", "/v1/globals?consistency=stale")
    assert (told.status, told.headers["X-Hamgr-Consistency"]) == (200, "stale")
    assert "first" in told.body["variables"]


def test_five_die_one_by_one_and_the_last_one_writes_until_all_are_back(five: Cluster) -> None:
    write(five, "first")
    written = {"first"}
    while len(alive(five)) > 1:
        leader = five.wait("a leader", five.leader)
        others = [name for name in alive(five) if name != leader]
        five.processes.kill_replica(leader if len(others) > 2 else others[0])
        settle(five, alive(five))
        write(five, f"with{len(alive(five))}")
        written.add(f"with{len(alive(five))}")
    assert written <= values(five)
    five.revive()
    settle(five, five.names)
    write(five, "last")
    assert values(five) == written | {"last"}
    lose_a_majority(five)


def lose_a_majority(cluster: Cluster) -> None:
    leader = cluster.wait("a leader", cluster.leader)
    others = [name for name in cluster.names if name != leader]
    for name in (leader, *others[:2]):
        cluster.processes.kill_replica(name)
    refuses(cluster, others[3])
    cluster.processes.start_replica(others[0])
    write(cluster, "again")


def test_five_that_end_at_once_under_writes_go_on_when_three_are_back_with_all_they_promised(
    five: Cluster,
) -> None:
    with Writer(five) as writer:
        five.wait("a few writes", lambda: len(writer.acknowledged) >= 5)
        for name in five.names:
            five.processes.kill_replica(name)
        promised = len(writer.acknowledged)
        for name in five.names[2:]:
            five.processes.start_replica(name)
        five.wait("writes again", lambda: len(writer.acknowledged) >= promised + 5)
        settle(five, five.names[2:])  # the two that never come back lose their votes
    assert not writer.lost()


def test_half_at_once_waits_without_the_leader_and_goes_on_with_it(four: Cluster) -> None:
    write(four, "first")
    four.wait("the first write on all replicas", lambda: all(remembers(four, name) for name in four.names))
    leader = four.wait("a leader", four.leader)
    second, third, fourth = (name for name in four.names if name != leader)
    for name in (leader, second):
        four.processes.kill_replica(name)
    refuses(four, third)
    four.revive()
    leader = four.wait("a leader", four.leader)
    settle(four, four.names)
    second, third, fourth = (name for name in four.names if name != leader)
    for name in (third, fourth):
        four.processes.kill_replica(name)
    settle(four, sorted([leader, second]))
    write(four, "half")
    four.revive()
    four.wait("three voters", lambda: len(voters(four)) == 3)  # a fourth would be of no use
    assert {"first", "half"} <= values(four)

"""Two real replicas that can fence each other: either goes on alone, and nothing is lost.

The fence kills a process and looks whether it is gone. Voters are dead after 5 s here: a busy machine may
stand still for two, and who is fenced for that does not come back by itself.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, hamgr
from tests.cluster.test_down_to_the_last import PACE, settle, values, voters, write

pytestmark = pytest.mark.timeout(150)

FENCE = """#!/bin/sh
pid=$(cat "$(dirname "$0")/$2.pid") || exit 1
case $1 in
status) kill -0 "$pid" ;;
off)
    echo "killing $pid"
    kill -KILL "$pid" 2>/dev/null
    while grep -qs '^State:[^Z]*$' "/proc/$pid/status"; do sleep 0.05; done
    ;;
esac
"""


class Pair(Cluster):
    """Two replicas, and a file with each one's process."""

    def note(self) -> None:
        for name in self.names:
            (self.directory / f"{name}.pid").write_text(str(self.processes.pid(name)))

    def is_armed(self) -> bool:
        answer = self.ask("GET", "/v1/replicas")
        return answer.status == 200 and answer.body["fencing"]["armed"]

    def goes_on(self, rest: str) -> None:
        self.wait(f"{rest} alone", lambda: voters(self) == [rest])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    running = Pair(tmp_path / "cluster", replicas=2)
    script = running.directory / "fence.sh"
    script.write_text(FENCE)
    script.chmod(0o755)
    fencing = {"command": [str(script)], "timeout_s": 20, "test_every_s": 60}
    for plan in running.layout.replicas:
        settings = json.loads(plan.config.read_text())
        plan.config.write_text(
            json.dumps({**settings, "autopilot": {**PACE, "dead_s": 5.0}, "fencing": fencing})
        )
    try:
        for name in running.names:
            running.processes.start_replica(name)
        running.note()
        yield running
    finally:
        running.stop()


def fencing(cluster: Cluster, *words: str) -> tuple[int, Any]:
    done = hamgr(cluster, "replica", "fencing", *words, "-o", "json")
    return done.returncode, json.loads(done.stdout)


def test_an_operator_has_the_fencing_commands_tested_and_sees_how_the_tests_stand(pair: Pair) -> None:
    write(pair, "first")
    pair.wait("fencing to be armed", pair.is_armed)
    code, tested = fencing(pair, "test")
    assert code == 0, tested
    assert [(one["replica"], one["other"], one["ok"]) for one in tested["items"]] == [
        ("r1", "r2", True),
        ("r2", "r1", True),
    ]
    (pair.directory / "r1.pid").unlink()  # r2 cannot switch r1 off any more
    code, tested = fencing(pair, "test")
    assert (code, [one["ok"] for one in tested["items"]]) == (1, [True, False])
    pair.wait("it to be armed no more", lambda: not pair.is_armed())
    code, told = fencing(pair, "ls")
    assert (code, told["armed"], told["items"][0]["failure"]) == (1, False, "")
    assert "r1 could not be switched off" in told["items"][1]["failure"]
    metrics = pair.on("r2", "GET", "/metrics").body.decode()
    assert "hamgr_fencing_failed 1.0" in metrics
    pair.note()
    assert fencing(pair, "test")[0] == 0
    pair.wait("fencing to be armed again", pair.is_armed)


def test_the_follower_fences_a_frozen_leader_and_goes_on_and_the_other_way_round(pair: Pair) -> None:
    write(pair, "first")
    pair.wait("fencing to be armed", pair.is_armed)
    leader = pair.wait("a leader", pair.leader)
    follower = next(name for name in pair.names if name != leader)
    pair.processes.signal_replica(leader, signal.SIGSTOP)
    pair.goes_on(follower)
    assert pair.dead() == [leader]
    write(pair, "second")
    pair.processes.start_replica(leader)
    pair.note()
    settle(pair, pair.names)
    pair.wait("fencing to be armed again", pair.is_armed)
    assert values(pair) == {"first", "second"}
    pair.processes.kill_replica(leader)
    pair.goes_on(follower)
    write(pair, "third")
    pair.processes.start_replica(leader)
    settle(pair, pair.names)
    assert values(pair) == {"first", "second", "third"}

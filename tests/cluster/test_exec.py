"""`hamgr exec` on real nodes: what each answered, through any replica, and what is known when one dies."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.cluster.conftest import NODES, Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def started(fleet: Fleet, replica: str, *words: str, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `hamgr exec` against one replica; at a terminal, as `errors`, it says how many have answered."""
    layout = fleet.cluster.layout
    url = next(plan.url for plan in layout.replicas if plan.name == replica)
    environment = {
        **os.environ,
        "HAMGR_ADDR": url,
        "HAMGR_TOKEN_FILE": str(layout.token_file),
        "XDG_CONFIG_HOME": str(layout.directory / "nothing"),
        "XDG_CACHE_HOME": str(layout.directory / "nothing"),
    }
    command = [sys.executable, "-m", "cli.main", "exec", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out.strip() else [], err


def shown(terminal: int) -> str:
    """Return what was written to a terminal since somebody looked."""
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # nothing new, or nobody writes there any more
        return ""


def test_every_replica_runs_it_and_each_node_answers_for_itself(fleet: Fleet) -> None:
    for replica in fleet.cluster.names:
        code, answers, err = ended(started(fleet, replica, "--all", "-o", "json", "--", "hostname; exit 3"))
        assert code == 1, err
        assert sorted(answer["node"] for answer in answers) == list(NODES)
        assert {answer["exit_code"] for answer in answers} == {3}
    events = fleet.cluster.ask("GET", "/v1/events?follow=0").ok()["items"]
    assert [event["message"] for event in events if event["kind"] == "exec.begun"] == [
        "`hostname; exit 3` on 3 nodes"
    ] * 3


def test_a_replica_that_dies_leaves_answers_and_unknowns_and_nothing_runs_twice(fleet: Fleet) -> None:
    cluster = fleet.cluster
    leader = cluster.wait("a leader", cluster.leader)
    script = "echo ran >>/var/log/effects; case $(hostname) in n1) echo quick ;; *) sleep 600 ;; esac"
    mine, its = os.openpty()
    asked = started(fleet, leader, "--all", "-o", "json", "--deadline", "8s", "--", script, errors=its)
    os.close(its)
    cluster.wait("the command on all nodes", lambda: all(fleet.effects(node) for node in NODES))
    os.set_blocking(mine, False)
    cluster.wait("n1's answer with the caller", lambda: "1 of 3 nodes" in shown(mine))
    cluster.processes.kill_replica(leader)
    code, answers, _ = ended(asked)
    os.close(mine)
    assert code == 7, answers
    told = {answer["node"]: answer for answer in answers}
    assert (told["n1"]["exit_code"], told["n1"]["output"]) == (0, "quick\n")
    assert [told[node]["unknown"] for node in NODES] == [False, True, True]
    cluster.revive()
    cluster.wait("a leader", cluster.leader)
    for node in NODES:
        cluster.wait(
            f"the end of it on {node}",
            lambda node=node: not fleet.lab.run(node, "pgrep", "-f", "sleep 600", check=False).stdout,
        )
        assert fleet.effects(node) == ["ran"]


def test_a_node_that_stands_still_is_told_apart_from_those_that_answer(fleet: Fleet) -> None:
    fleet.lab.freeze("n2")
    try:
        code, answers, _ = ended(
            started(fleet, "r1", "--all", "-o", "json", "--deadline", "8s", "--", "true")
        )
    finally:
        fleet.lab.thaw("n2")
    assert code in (7, 8)
    told = {answer["node"]: answer for answer in answers}
    assert [told[node]["exit_code"] for node in NODES] == [0, None, 0]
    assert told["n2"]["error"]

"""`hamgr replica` against replicas with real consensus: what it shows, asks, waits for, and ends with."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api.members_rig import Members, members
from tests.hamgr.raft import kit


class Cluster:
    """Real replicas on the loop of a thread, and the command with all their addresses."""

    def __init__(self, replicas: Replicas, members: Members, cli: Cli) -> None:
        self.replicas = replicas
        self.members = members
        self.cli = cli
        cli.env["HAMGR_ADDR"] = ",".join(f"http://{address}" for address in members.addresses.values())

    def leader(self) -> str:
        return str(self.replicas.do(self.members.leader()))

    def followers(self) -> list[str]:
        return list(self.replicas.do(self.members.followers()))

    def voters(self) -> list[str]:
        return self.members.voters(self.leader())

    def learners(self) -> int:
        return len(self.members.running[self.leader()].members.configuration.learners)

    def start(self, name: str) -> None:
        self.replicas.do(self.members.start(name))

    def stop(self, name: str) -> None:
        """Stop a replica, and wait until the leader has noticed."""
        self.replicas.do(self.members.stop(name))
        leader = self.members.running[self.leader()]
        self.replicas.do(kit.until(lambda: not leader.figures.peers[name].connected))

    def options(self, name: str) -> list[str]:
        body = self.members.body(name)
        return [word for key in ("id", "raft", "api") for word in (f"--{key}", body[key])]


@pytest.fixture
def three(replicas: Replicas, cli: Cli, tmp_path: Path) -> Iterator[Cluster]:
    """Three voters, and r4 that is no member and does not run."""
    stack = AsyncExitStack()
    found = replicas.do(stack.enter_async_context(members(tmp_path / "real", 3, spare=1)))
    try:
        yield Cluster(replicas, found, cli)
    finally:
        replicas.do(found.close())
        replicas.do(stack.aclose())


def test_replicas_are_listed_with_the_losses_that_are_survived(three: Cluster) -> None:
    ran = three.cli("replica", "ls")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["REPLICA", "r1", "r2", "r3"]
    assert ran.out.count("leader") == 1
    assert "the loss of any 1 more replica is survived" in ran.err
    assert three.cli("replica", "ls", "-o", "name").out.split() == ["r1", "r2", "r3"]
    assert three.members.settings["r2"].me in three.cli("replica", "ls", "-o", "wide").out
    assert json.loads(three.cli("replica", "ls", "-o", "json").out)["leader"] == three.leader()


def test_without_a_leader_one_replicas_memory_is_listed_and_labelled(three: Cluster) -> None:
    for name in three.followers():
        three.replicas.do(three.members.stop(name))
    ran = three.cli("replica", "ls", "--timeout", "1")
    assert ran.code == 6
    assert "it may be old" in ran.err
    assert "nothing can be changed" in ran.err
    assert "r3" in ran.out


def test_adding_waits_until_the_new_one_is_a_voter(three: Cluster) -> None:
    with three.cli.start("replica", "add", "r4", *three.options("r4")) as adding:
        assert adding.stderr is not None
        assert "r4 is a learner" in adding.stderr.readline()
        assert three.voters() == ["r1", "r2", "r3"]
        three.start("r4")
        out, err = adding.communicate(timeout=30)
    assert (adding.returncode, out) == (0, "r4 is a voter\n")
    assert "the loss of any 1 more replica is survived" in err
    assert three.voters() == ["r1", "r2", "r3", "r4"]


def test_adding_that_ran_out_of_time_goes_on_where_it_was(three: Cluster) -> None:
    ran = three.cli("replica", "add", "r4", *three.options("r4"), "--timeout", "0.5")
    assert ran.code == 7
    assert "start its hamgrd" in ran.err
    assert (three.voters(), three.learners()) == (["r1", "r2", "r3"], 1)
    three.start("r4")
    ran = three.cli("replica", "add", "r4", *three.options("r4"), "-o", "json")
    assert (ran.code, json.loads(ran.out)["role"]) == (0, "voter")


def test_a_replica_is_removed_and_the_losses_before_and_after_are_told(three: Cluster) -> None:
    gone = three.followers()[0]
    three.stop(gone)
    ran = three.cli("replica", "remove", gone, "--yes")
    assert (ran.code, ran.out) == (0, f"{gone} is removed\n")
    assert "before  no further replica may be lost" in ran.err
    assert "after   no further replica may be lost" in ran.err
    assert gone not in three.voters()
    assert three.cli("replica", "remove", gone, "--yes").code == 3


def test_votes_are_taken_and_given_and_less_safety_is_asked_for(three: Cluster) -> None:
    name = three.followers()[0]
    asked = three.cli("replica", "demote", name)
    assert asked.code != 0
    assert "after   no further replica may be lost" in asked.err
    assert three.voters() == ["r1", "r2", "r3"]
    ran = three.cli("replica", "demote", name, "--yes")
    assert (ran.code, ran.out) == (0, f"{name} is a standby\n")
    assert "standby" in three.cli("replica", "ls").out
    ran = three.cli("replica", "promote", name)
    assert (ran.code, ran.out, three.voters()) == (0, f"{name} is a voter\n", ["r1", "r2", "r3"])


def test_wishes_of_replicas_are_kept_and_shown(three: Cluster) -> None:
    assert three.cli("replica", "target", "3").out == "up to 3 replicas vote\n"
    assert three.cli("replica", "domain", "r1", "rack-7").out == "r1 is in rack-7\n"
    ran = three.cli("replica", "rest", "r2", "--for", "30m", "--reason", "new memory")
    assert ran.out == "r2 keeps its vote for 30 minutes, though it may be away\n"
    told = json.loads(three.cli("replica", "ls", "-o", "json").out)
    assert (told["target"], told["items"][0]["domain"]) == (3, "rack-7")
    assert told["items"][1]["rest_reason"] == "new memory"
    assert three.cli("replica", "rest", "r2", "--end").out == "r2 is back\n"
    assert three.cli("replica", "rest", "r2", "--for", "soon").code == 2
    assert three.cli("replica", "domain", "r1").code == 2


def test_the_leader_itself_can_be_removed(three: Cluster) -> None:
    leader = three.leader()
    ran = three.cli("replica", "remove", leader, "--yes", "-o", "json")
    assert (ran.code, json.loads(ran.out)["name"]) == (0, leader)
    three.replicas.do(three.members.stop(leader))
    assert leader not in three.voters()


def test_nothing_is_removed_without_a_yes(three: Cluster) -> None:
    ran = three.cli("replica", "remove", "r3")
    assert ran.code == 2
    assert "add --yes" in ran.err
    ours, theirs = pty.openpty()
    with three.cli.start("replica", "remove", "r3", stdin=theirs, stdout=subprocess.DEVNULL) as asking:
        os.write(ours, b"n\n")
        assert asking.wait(30) == 1
        assert asking.stderr is not None
        assert "Remove r3?" in asking.stderr.read()
    os.close(ours)
    os.close(theirs)
    assert three.voters() == ["r1", "r2", "r3"]


def test_what_would_cost_the_majority_is_refused_before_anything_is_asked(three: Cluster) -> None:
    gone, alive = three.followers()
    three.stop(gone)
    ran = three.cli("replica", "remove", alive, "--yes")
    assert ran.code == 4
    assert "1 of 2 replicas work and 2 are needed" in ran.err
    assert "before" not in ran.err
    assert three.voters() == ["r1", "r2", "r3"]


def test_leadership_is_handed_to_whom_one_says(three: Cluster) -> None:
    heir = three.followers()[0]
    ran = three.cli("replica", "lead", heir)
    assert ran.code == 0
    assert ran.out.startswith(f"{heir} leads (term ")
    assert three.leader() == heir
    assert three.cli("replica", "lead", "r9").code == 3
    assert three.leader() == heir

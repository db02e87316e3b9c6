"""hamgr plan and hamgr apply, as an operator sees them at three in the morning."""

import json
import os
import pty
from pathlib import Path

import pytest

from hamgr.jobs.sights import Verdict
from statemachine.commands import EditNode
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api import fakes, rig

PLAN = ("plan", "commission", "--all", "--role", "web", "--max-parallel", "2")
DIFF = "--- /srv/index.html\n+++ /srv/index.html\n@@ -1 +1 @@\n-\tbye\n+\thello\x1b[2J"


@pytest.fixture
def seen(live: Cli, bundle: Path, replicas: Replicas) -> fakes.FakeLookout:
    """What the replica sees when it looks; it has a bundle and the nodes w1 to w3."""
    assert live("config", "push", str(bundle)).code == 0
    return replicas.servers["r1"].lookout


def made(live: Cli, *more: str) -> str:
    ran = live(*PLAN, "-o", "name", *more)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_nodes_that_would_change_alike_are_told_together_and_the_others_folded(
    live: Cli, seen: fakes.FakeLookout
) -> None:
    seen.sees = {"w3": (Verdict.UNCHANGED, ""), "*": (Verdict.WOULD_CHANGE, DIFF)}
    ran = live(*PLAN)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("would commission 3 nodes with bundle ")
    assert lines[1:3] == ["  wave 1: w1, w2", "  wave 2: w3"]
    assert lines[4:12] == [
        "w1, w2 (2 nodes)",
        "  ~ web: page  would change",
        "      --- /srv/index.html",
        "      +++ /srv/index.html",
        "      @@ -1 +1 @@",
        "      -\tbye",
        "      +\thello\N{REPLACEMENT CHARACTER}[2J",
        "    steps: 1 to prove it afterwards",
    ]
    assert lines[13] == "1 unchanged: w3"
    assert lines[-1] == "2 nodes would change, 1 unchanged"
    assert "to begin exactly this: hamgr apply --plan " in ran.err


def test_what_could_not_be_looked_at_and_the_risks_are_told(live: Cli, seen: fakes.FakeLookout) -> None:
    seen.sees = {"*": (Verdict.UNCHANGED, "")}
    seen.errors = {"w2": "could not look: nothing listens there"}
    ran = live(*PLAN)
    assert "w2\n  ? could not look: nothing listens there\n" in ran.out
    assert "  ! nobody could look at w2, so what would change there is not known" in ran.out
    assert ran.out.splitlines()[-1] == "0 nodes would change, 2 unchanged, 1 unknown"


def test_the_exit_code_tells_of_changes_and_of_what_nobody_knows(live: Cli, seen: fakes.FakeLookout) -> None:
    assert live(*PLAN, "--exit-code").code == 10
    seen.sees = {"*": (Verdict.UNCHANGED, "")}
    assert live(*PLAN, "--exit-code").code == 0
    seen.sees = {"*": (Verdict.UNKNOWN, "")}
    assert live(*PLAN, "--exit-code").code == 10


def test_a_dry_run_shows_the_same_and_keeps_nothing(
    live: Cli, seen: fakes.FakeLookout, replicas: Replicas
) -> None:
    seen.sees = {"*": (Verdict.WOULD_CHANGE, DIFF)}
    ran = live("node", *PLAN[1:], "--dry-run")
    assert ran.code == 0
    assert ran.out == live(*PLAN).out
    assert "hamgr apply" not in ran.err
    assert len(replicas.cluster.state.plans) == 1


def test_a_plan_is_begun_by_the_beginning_of_its_hash(
    live: Cli, seen: fakes.FakeLookout, replicas: Replicas
) -> None:
    plan = made(live)
    assert live("apply", "--plan", plan[:8], "--dry-run").out == "it could be begun now\n"
    ran = live("apply", "--plan", plan[:8], "--detach", "--reason", "night shift")
    assert (ran.code, ran.out) == (0, "j-4\n")
    assert "hamgr job watch j-4" in ran.err
    assert replicas.cluster.state.jobs["j-4"].reason == "night shift"
    again = live("apply", "--plan", plan)
    assert (again.code, "was used already, by job j-4" in again.err) == (4, True)
    shown = live("plan", "show", plan)
    assert "it was used by j-4" in shown.out


def test_applying_watches_the_job_to_its_end(live: Cli, seen: fakes.FakeLookout, replicas: Replicas) -> None:
    with live.start("apply", "--plan", made(live)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "commission of 3" in line:
                break
        assert live("job", "cancel", "j-4", "--yes").code == 0
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "j-4 commission: 0 of 3" in out


def test_a_plan_whose_grounds_moved_says_what_and_how_to_go_on(
    live: Cli, seen: fakes.FakeLookout, replicas: Replicas
) -> None:
    plan = made(live)
    command = EditNode(request_id=rig.rid(), at=rig.NOW, actor="x", node="w2", variables={"a": 1})
    replicas.on_loop(replicas.cluster.apply, command)
    ran = live("apply", "--plan", plan)
    assert (ran.code, ran.out) == (4, "")
    assert "w2: another variables" in ran.err
    assert "plan anew" in ran.err
    shown = live("plan", "show", plan)
    assert "it cannot be begun any more, since something has moved:\n    w2: another variables" in shown.out
    assert live("plan", "approve", plan, "--yes").code == 4


def test_somebody_else_looks_and_approves(live: Cli, seen: fakes.FakeLookout, replicas: Replicas) -> None:
    plan = made(live, "--needs-approval")
    ran = live("apply", "--plan", plan)
    assert (ran.code, "has to be approved by somebody else than operator" in ran.err) == (4, True)
    assert live("plan", "approve", plan, "--yes").code == 5
    live.env["HAMGR_TOKEN"] = rig.TOKENS["bob"]
    unasked = live("plan", "approve", plan[:12])
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert "3 nodes would change" in unasked.err, "what is to be approved is shown first"
    ran = live("plan", "approve", plan[:12], "--yes")
    assert (ran.code, ran.out) == (0, f"plan {plan[:12]} is approved\n")
    table = live("plan", "ls").out.splitlines()
    assert table[0].split() == ["PLAN", "KIND", "NODES", "AUTHOR", "MADE", "APPROVAL", "JOB"]
    assert table[1].split()[:4] == [plan[:12], "commission", "3", "operator"]
    assert "by bob" in table[1]
    live.env["HAMGR_TOKEN"] = rig.TOKEN
    assert live("apply", "--plan", plan, "--detach").code == 0


def test_a_plan_is_data_for_programs(live: Cli, seen: fakes.FakeLookout) -> None:
    seen.sees = {"*": (Verdict.WOULD_CHANGE, DIFF)}
    found = json.loads(live(*PLAN, "-o", "json").out)
    assert (found["summary"]["would-change"], found["diffs"]) == (3, {"1": DIFF})
    shown = json.loads(live("plan", "show", found["hash"], "-o", "json").out)
    assert (shown["hash"], shown["diffs"], shown["author"]) == (found["hash"], {"1": DIFF}, "operator")
    assert [one["hash"] for one in json.loads(live("plan", "ls", "-o", "json").out)] == [found["hash"]]


def test_an_unknown_plan_is_told_with_the_way_out(live: Cli, seen: fakes.FakeLookout) -> None:
    for command in (("plan", "show", "abcdef"), ("plan", "approve", "abcdef"), ("apply", "--plan", "abcdef")):
        ran = live(*command)
        assert (ran.code, "no such plan" in ran.err, "hamgr plan ls" in ran.err) == (3, True, True)
    assert live("apply").code == 2


@pytest.mark.parametrize("kind", ["commission", "upgrade", "rollback", "decommission"])
def test_planning_understands_what_doing_does_and_nothing_of_beginning(cli: Cli, kind: str) -> None:
    helped = cli("plan", kind, "--help").out
    for flag in ("--selector", "--canary", "--needs-approval", "--exit-code"):
        assert flag in helped
    for flag in ("--dry-run", "--detach", "--yes"):
        assert flag not in helped


def test_diffs_have_colours_on_a_terminal_and_nowhere_else(live: Cli, seen: fakes.FakeLookout) -> None:
    seen.sees = {"*": (Verdict.WOULD_CHANGE, DIFF)}
    assert "\x1b" not in live(*PLAN).out
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        live.env |= env
        ours, theirs = pty.openpty()
        with live.start(*PLAN, stdout=theirs):
            os.close(theirs)
            text = b""
            while True:
                try:
                    text += os.read(ours, 4096)
                except OSError:  # the other end is closed
                    break
        os.close(ours)
        assert b"would change" in text
        assert (b"\x1b[32m+\thello" in text) is coloured


def test_a_replica_that_is_lost_while_it_looks_costs_another_look_elsewhere(
    live: Cli, seen: fakes.FakeLookout, replicas: Replicas
) -> None:
    def lost() -> None:
        raise ConnectionError("the machine is gone")

    replicas.start("r2")
    seen.meanwhile = lost
    live.env["HAMGR_ADDR"] = ",".join(replicas.servers[name].url for name in ("r1", "r2"))
    ran = live(*PLAN)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "3 nodes would change, 0 unchanged"
    assert (len(seen.timeouts_s), len(replicas.servers["r2"].lookout.timeouts_s)) == (0, 1)
    assert len(replicas.cluster.state.plans) == 1


def test_a_plan_of_megabytes_is_read_whole(live: Cli, seen: fakes.FakeLookout) -> None:
    diff = "--- a\n+++ b\n" + "+0123456789abcdef\n" * 150_000
    seen.sees = {"*": (Verdict.WOULD_CHANGE, diff)}
    ran = live(*PLAN, "-o", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["diffs"] == {"1": diff}

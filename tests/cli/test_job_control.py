"""Steering jobs from the command line, what a watcher is told of holds, and the answers to why."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.conftest import RUN_TIMEOUT_S, Cli, Replicas
from tests.cli.test_exits import answer_on_terminal
from tests.hamgr.api import rig
from tests.hamgr.api.leading import drive, step

NODES = ("w1", "w2", "w3")


@pytest.fixture
def ready(live: Cli, bundle: Path) -> Cli:
    """The command with nodes w1 to w3 and a bundle for them."""
    assert live("config", "push", str(bundle), "-m", "first").code == 0
    return live


def begun(cli: Cli, *more: str) -> str:
    """Begin a commission of all nodes, and return its name."""
    made = cli("node", "commission", "--all", "--role", "web", "--max-parallel", "1", "--detach", *more)
    assert made.code == 0, made.err
    return str(made.out.strip())


def lead(replicas: Replicas, job: str, *nodes: str, **how: Any) -> None:
    replicas.on_loop(lambda: drive(replicas.cluster, job, *nodes, **how))


@contextmanager
def watching(cli: Cli, *args: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Yield a command that runs and what it says beside the data; a silent one is killed in the end."""
    with cli.start(*args) as process:
        limit = threading.Timer(RUN_TIMEOUT_S, process.kill)
        limit.start()
        try:
            assert process.stderr is not None
            yield process, process.stderr
        finally:
            limit.cancel()
            process.kill()


def test_a_job_is_paused_and_resumed_and_says_what_that_means(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready)
    replicas.on_loop(rig.claim, replicas.cluster, job, "w1")
    tried = ready("job", "pause", job, "--dry-run")
    assert (tried.code, "nothing was done" in tried.err) == (0, True)
    assert not replicas.cluster.state.jobs[job].holds
    paused = ready("job", "pause", job, "--reason", "lunch")
    assert paused.out == f"{job} is paused: 1 at work go on to their end, 2 wait\n"
    assert f"hamgr job resume {job}" in paused.err
    assert ready("job", "ls").out.splitlines()[1].split()[2] == "paused"
    status = ready("status").out
    assert f"{job} commission 0/3 (paused)" in status
    assert "job-waits" not in status, "whoever paused it knows"
    assert ready("job", "pause", job).code == 4
    assert ready("job", "resume", job).out == f"{job} goes on\n"
    assert not replicas.cluster.state.jobs[job].holds
    refused = ready("job", "resume", job)
    assert (refused.code, "is not paused" in refused.err) == (4, True)


def test_resuming_a_job_that_something_else_holds_says_what(ready: Cli) -> None:
    job = begun(ready, "--start-at", "2023-11-16T00:00Z")
    ready("job", "pause", job)
    resumed = ready("job", "resume", job)
    assert resumed.out == f"{job} goes on\n"
    assert "held: scheduled: it is to begin later" in resumed.err


def test_a_watcher_sees_waves_canaries_and_holds_with_the_way_out(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready, "--canary", "1", "--promote", "manual", "--max-failed", "2")
    with watching(ready, "job", "watch", job) as (process, said):
        head = [said.readline() for _ in range(2)]
        assert head == [f"{job}  commission of 3\n", "  wave 1 of 3 (canary)\n"]
        lead(replicas, job, "w1")
        for line in said:
            if "try:" in line:
                break
        assert line.strip() == f"try: hamgr job promote {job}"
        assert ready("job", "promote", job).out == f"{job} is promoted\n"
        lead(replicas, job, "w2", exit_code=1)
        lead(replicas, job, "w3")
        err = said.read()
        assert process.wait(timeout=20) == 8
    lines = [line.strip() for line in err.splitlines()]
    assert "it goes on" in lines
    assert "1 of 2 allowed failures" in lines


def test_waiting_says_what_holds_a_job_and_goes_on_waiting(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready)
    ready("job", "pause", job, "--reason", "lunch")
    late = ready("job", "wait", job, "--for", "0.2")
    assert (late.code, late.out) == (7, "")
    with watching(ready, "job", "wait", job) as (process, said):
        assert said.readline() == "  held: paused by operator: lunch\n"
        assert said.readline() == f"    try: hamgr job resume {job}\n"
        assert process.poll() is None
        ready("job", "resume", job)
        assert said.readline() == "  it goes on\n"
        lead(replicas, job, *NODES)
        assert process.wait(timeout=20) == 0


def test_a_watcher_sees_by_which_job_another_is_blocked(ready: Cli, replicas: Replicas) -> None:
    first, second = begun(ready), begun(ready)
    replicas.on_loop(rig.claim, replicas.cluster, first, "w1")
    with watching(ready, "job", "watch", second) as (_, said):
        lines = [said.readline().strip() for _ in range(3)]
    assert lines[2] == f"1 node waits for {first}, which is at work there"


def test_a_retry_takes_the_failed_nodes_and_can_be_looked_at_first(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready, "--max-failed", "0")
    refused = ready("job", "retry", job)
    assert (refused.code, "is still running" in refused.err) == (4, True)
    lead(replicas, job, "w1", exit_code=1)
    assert "would commission 1 node " in ready("job", "retry", job, "--dry-run").out
    assert "would commission 3 nodes" in ready("job", "retry", job, "--unfinished", "--dry-run").out
    made = ready("job", "retry", job, "--detach", "--reason", "mended")
    assert json.loads(ready("job", "show", made.out.strip(), "-o", "json").out)["retry_of"] == job


def test_a_revert_shows_its_blast_radius_and_has_to_be_agreed_to(
    ready: Cli, replicas: Replicas, bundle: Path
) -> None:
    first = begun(ready)
    lead(replicas, first, *NODES)
    (bundle / "hamgr.yaml").write_text(rig.BUNDLE["hamgr.yaml"].replace("8080", "8081"))
    ready("config", "push", str(bundle), "-m", "second")
    old, new = (
        item["digest"][7:19] for item in reversed(json.loads(ready("config", "ls", "-o", "json").out))
    )
    job = ready("node", "upgrade", "--all", "--max-parallel", "3", "--detach").out.strip()
    lead(replicas, job, *NODES)
    lead(replicas, ready("node", "decommission", "w3", "--yes", "--detach").out.strip(), "w3")
    refused = ready("job", "revert", job)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert f"This brings 2 nodes back, of 3 where {job} succeeded: w1, w2" in refused.err
    assert "  1 have moved on since, and are left alone" in refused.err
    assert f"  2 from bundle {new} to {old}" in refused.err
    assert not replicas.cluster.state.running
    code, err = answer_on_terminal(ready, "3\n", "job", "revert", job)
    assert (code, "Type 2 to go on" in err, replicas.cluster.state.running) == (1, True, ())
    back = ready("job", "revert", job, "--yes", "--detach")
    assert back.code == 0, back.err
    assert replicas.cluster.state.jobs[back.out.strip()].revert_of == job


def test_a_job_that_reverts_itself_names_the_job_that_does_so(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready, "--max-failed", "0", "--on-failure", "revert")
    lead(replicas, job, "w1")
    lead(replicas, job, "w2", exit_code=1)
    (back,) = replicas.cluster.state.running
    ran = ready("job", "wait", job)
    assert ran.code == 8
    assert "it stopped early: 1 failed: w2" in ran.err
    assert f"{back} brings back what it changed; to see it: hamgr job watch {back}" in ran.err


def test_nodes_are_rolled_back_to_a_bundle_that_is_named_and_shown(
    ready: Cli, replicas: Replicas, bundle: Path
) -> None:
    old = json.loads(ready("config", "ls", "-o", "json").out)[0]["digest"]
    lead(replicas, begun(ready), *NODES)
    (bundle / "hamgr.yaml").write_text(rig.BUNDLE["hamgr.yaml"].replace("8080", "8081"))
    new = ready("config", "push", str(bundle), "-m", "second").out.strip()
    lead(replicas, ready("node", "upgrade", "w1", "w2", "--detach").out.strip(), "w1", "w2")
    ask = ("node", "rollback", "-l", "role=web", "--to", old[7:15])
    refused = ready(*ask)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert f"This brings 3 nodes to bundle {old[7:19]} (first):" in refused.err
    assert f"  2 from bundle {new[7:19]} to {old[7:19]}" in refused.err
    assert f"  1 with bundle {old[7:19]}, which they have" in refused.err
    assert not replicas.cluster.state.running
    made = ready(*ask, "--yes", "--detach", "--canary", "1")
    assert made.code == 0, made.err
    job = replicas.cluster.state.jobs[made.out.strip()]
    assert (job.kind, job.bundle, job.rollout.canary) == ("upgrade", old, 1)
    missing = ready("node", "rollback", "w1", "--to", "ffff", "--yes")
    assert (missing.code, "no such bundle" in missing.err) == (3, True)


def test_a_rollback_of_a_job_is_told_the_two_commands_that_may_be_meant(ready: Cli) -> None:
    ran = ready("job", "rollback", "j-4")
    assert ran.code == 2
    assert "hamgr job revert j-4, or hamgr node rollback" in ran.err


def test_why_tells_of_jobs_and_nodes_and_guesses_which_is_meant(ready: Cli, replicas: Replicas) -> None:
    job = begun(ready, "--on-failure", "pause", "--max-failed", "0")
    replicas.on_loop(lambda: rig.claim(replicas.cluster, job, "w1"))
    replicas.on_loop(lambda: step(replicas.cluster, job, "w1", exit_code=1, output_tail="E: no\x1b[2J space"))
    while replicas.cluster.state.nodes["w1"].job:
        replicas.on_loop(lambda: step(replicas.cluster, job, "w1"))
    told = ready("why", job)
    assert told.code == 0, told.err
    assert told.out == ready("why", "job", job).out == ready("why", job[2:]).out
    lines = told.out.splitlines()
    assert lines[0].startswith(
        f"{job}, commission of 3 nodes, is running: 2 queued, 1 failed; 1 of 0 allowed"
    )
    assert f"    try: hamgr job resume {job} to go on, or hamgr job cancel {job}" in lines
    assert "    | E: no\ufffd[2J space" in lines
    assert "\x1b" not in told.out
    node = ready("why", "w1")
    assert node.out == ready("why", "node", "w1").out
    assert "the last operation on it failed: work.00.web.page failed with exit status 1" in node.out
    assert f"    try: hamgr job log {job} --node w1" in node.out.splitlines()
    found = json.loads(ready("why", "w2", "-o", "json").out)
    assert [cause["kind"] for cause in found["causes"]] == ["state", "state", "queue"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("ghost",), 3, "no such node: ghost"),
        (("j-99",), 3, "no such job: j-99"),
        (("99",), 3, "no such job: j-99"),
        (("j1730443-99",), 3, "no such job: j1730443-99"),
        (("job", "w1"), 3, "no such job: w1"),
        (("w1", "w2"), 2, "one job or one node"),
        ((), 2, "missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_why_of_what_is_not_there_is_refused(live: Cli, args: tuple[str, ...], code: int, says: str) -> None:
    ran = live("why", *args)
    assert (ran.code, says in ran.err) == (code, True), ran.err


def test_a_node_that_is_called_like_a_job_is_found_when_there_is_no_such_job(
    live: Cli, replicas: Replicas
) -> None:
    replicas.on_loop(rig.discovered, replicas.cluster, "j-77")
    assert "j-77 is discovered" in live("why", "j-77").out

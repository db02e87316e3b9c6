"""How attempts end: results, reboots, killed supervisors, kill, and what a step leaves behind."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.ports import AttemptState, NodeBusy
from tests.backends.runner.conftest import SHELLS, make_node
from tests.backends.runner.node import Node, key, until


@pytest.fixture(params=[shell for shell in SHELLS if shell != "bash"])  # bash differs in nothing that is here
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    yield from make_node(request.param, tmp_path)


def daemon(root: Path, *, keep_output: bool) -> str:
    """Return code that leaves a double-forked process in a session of its own, with the run lock open."""
    output = "" if keep_output else ">/dev/null 2>&1"
    return f'(setsid sh -c \'echo $$ >"$0/stray"; sleep 300\' "{root}" {output} &) '


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def stray(node: Node) -> int:
    until(lambda: (node.root / "stray").exists() and (node.root / "stray").read_text(), what="no stray")
    return int((node.root / "stray").read_text())


def test_an_exit_status_and_a_death_by_signal_are_told_apart(node: Node) -> None:
    assert node.run(1, key(attempt=1), "exit 250").exit_code == 250
    assert node.run(1, key(attempt=2), "kill -TERM $$").exit_code == 128 + signal.SIGTERM


def test_a_result_survives_a_reboot(node: Node) -> None:
    node.run(1, key(), "echo kept; exit 7")
    status = node.status(2, key(), HAMGR_BOOT_ID="another-boot")
    assert (status.state, status.exit_code, status.output_bytes) == (AttemptState.DONE, 7, 5)


def test_an_attempt_that_a_reboot_cut_short_is_lost_and_never_started_again(node: Node) -> None:
    text = f'echo x >>"{node.root}/effects"; {node.gate("never")}'
    node.run(1, key(), text, wait_s=0)
    effects = node.root / "effects"  # the shell makes it before it writes
    until(lambda: effects.exists() and effects.read_text() == "x\n", what="it never started")
    node.end_everything()
    node.environment["HAMGR_BOOT_ID"] = "another-boot"
    lost = node.run(2, key(), text)
    assert (lost.state, lost.exit_code, lost.reason) == (AttemptState.LOST, None, "node rebooted")
    assert effects.read_text() == "x\n"
    assert node.run(2, key(attempt=2), "true").state is AttemptState.DONE
    assert node.launches() == ["1 j s 1", "2 j s 2"]


@pytest.mark.parametrize(
    ("mark", "state"),
    [
        ("running", AttemptState.LOST),
        ("ended 5", AttemptState.DONE),
        ("synced 5", AttemptState.DONE),
        ("closed 5", AttemptState.DONE),
        ("failed 5", AttemptState.LOST),
        ("garbage", AttemptState.LOST),
        ("", AttemptState.LOST),
    ],
)
def test_after_a_power_loss_whatever_the_disk_has_of_a_record_is_read_truthfully(
    quick_node: Node, mark: str, state: AttemptState
) -> None:
    quick_node.run(1, key(), "exit 5")
    record = quick_node.state / "jobs/j/s.1.record"
    record.write_text(record.read_text().splitlines()[0] + "\n" + mark.ljust(12) + "\n")
    status = quick_node.status(1, key(), HAMGR_BOOT_ID="another-boot")
    assert (status.state, status.exit_code) == (state, 5 if state is AttemptState.DONE else None)


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"attempt", b"garbage\nclosed 0    \n"])
def test_a_damaged_record_is_lost_and_its_attempt_is_not_started_again(
    quick_node: Node, content: bytes
) -> None:
    quick_node.run(1, key(), "exit 5")
    (quick_node.state / "jobs/j/s.1.record").write_bytes(content)
    status = quick_node.run(1, key(), f'touch "{quick_node.root}/effect"')
    assert (status.state, status.reason) == (AttemptState.LOST, "record damaged")
    assert not (quick_node.root / "effect").exists()


@pytest.mark.parametrize("mark", ["running", "ended 5"])
def test_a_result_that_nobody_synced_is_not_believed_before_a_reboot(quick_node: Node, mark: str) -> None:
    quick_node.run(1, key(), "exit 5")
    record = quick_node.state / "jobs/j/s.1.record"
    record.write_text(record.read_text().splitlines()[0] + "\n" + mark.ljust(12) + "\n")
    status = quick_node.status(1, key())
    assert (status.state, status.reason) == (AttemptState.LOST, "supervisor died")


def test_a_killed_supervisor_leaves_the_node_busy_until_the_work_really_ends(node: Node) -> None:
    node.run(1, key(), f"({node.gate('g')}) & wait", wait_s=0)
    until(lambda: len(node.processes()) >= 4, what="the step never started")
    os.kill(node.supervisor(), signal.SIGKILL)
    with pytest.raises(NodeBusy):
        node.run(1, key(step="next"), f'touch "{node.root}/effect"')
    assert node.status(1, key()).state is AttemptState.RUNNING
    assert node.run(1, key(), f"({node.gate('g')}) & wait", wait_s=0.2).state is AttemptState.RUNNING
    node.open("g")
    lost = node.until_state(AttemptState.LOST, 1, key())
    assert lost.reason == "supervisor died"
    assert not (node.root / "effect").exists()
    assert node.run(1, key(step="next"), "true").state is AttemptState.DONE


def test_kill_ends_a_step_that_ignores_every_signal_it_can(node: Node) -> None:
    node.run(1, key(), f"trap '' HUP INT QUIT TERM; echo ready; {node.gate('never')}", wait_s=0)
    until(lambda: node.status(1, key()).output_bytes, what="it never started")
    killed = node.kill(2, key())
    assert (killed.state, killed.exit_code) == (AttemptState.DONE, 128 + signal.SIGKILL)
    assert node.processes() == []
    assert node.run(2, key(attempt=2), "true").state is AttemptState.DONE


def test_kill_finds_children_that_left_the_session(node: Node) -> None:
    node.run(1, key(), daemon(node.root, keep_output=False) + "; sleep 300", wait_s=0)
    process = stray(node)
    assert node.kill(1, key()).exit_code == 128 + signal.SIGKILL
    assert not alive(process)
    assert node.processes() == []


def test_kill_finds_children_that_closed_the_lock_but_stayed_in_the_session(node: Node) -> None:
    node.run(1, key(), f'(sleep 300) 7>&- & echo $! >"{node.root}/stray"; wait', wait_s=0)
    process = stray(node)
    assert node.kill(1, key()).exit_code == 128 + signal.SIGKILL
    until(lambda: not alive(process), what="a child survived")


def test_kill_after_the_supervisor_died_ends_the_work_too(node: Node) -> None:
    node.run(1, key(), f"({node.gate('never')}) & wait", wait_s=0)
    until(lambda: len(node.processes()) >= 4, what="the step never started")
    os.kill(node.supervisor(), signal.SIGKILL)
    killed = node.kill(1, key())
    assert (killed.state, killed.reason) == (AttemptState.LOST, "supervisor died")
    until(lambda: node.processes() == [], what="somebody survived")


def test_kill_of_what_is_over_or_never_was_harms_nobody(node: Node) -> None:
    node.run(1, key(attempt=1), "exit 2")
    node.run(1, key(attempt=2), "echo ready; " + node.gate("g"), wait_s=0)
    until(lambda: node.status(1, key(attempt=2)).output_bytes, what="it never started")
    assert node.kill(1, key(attempt=1)).exit_code == 2
    assert node.kill(1, key(attempt=3)).state is AttemptState.ABSENT
    assert node.status(1, key(attempt=2)).state is AttemptState.RUNNING
    node.open("g")
    assert node.until_state(AttemptState.DONE, 1, key(attempt=2)).exit_code == 0


@pytest.mark.parametrize("keep_output", [True, False], ids=["writing", "silent"])
def test_what_a_step_leaves_behind_keeps_the_node_busy_but_not_the_result(
    quick_node: Node, keep_output: bool
) -> None:
    text = f"echo over; {daemon(quick_node.root, keep_output=keep_output)}; exit 4"
    done = quick_node.run(1, key(), text, wait_s=300)
    assert (done.state, done.exit_code, done.output) == (AttemptState.DONE, 4, b"over\n")
    process = stray(quick_node)
    with pytest.raises(NodeBusy) as refused:
        quick_node.run(1, key(step="next"), "true")
    assert refused.value.holder == "j/s/1"
    assert alive(process)
    assert quick_node.kill(1, key()).exit_code == 4
    assert not alive(process)
    assert quick_node.run(1, key(step="next"), "true").state is AttemptState.DONE


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"], ids=["writing", "silent"])
def test_a_service_that_closes_the_lock_does_not_keep_the_node_busy(quick_node: Node, output: str) -> None:
    text = f'(setsid sleep 300 7>&- {output} & echo $! >"$HAMGR_ROOT/stray")'
    assert quick_node.run(1, key(), f'test "$HAMGR_LOCK_FD" = 7 && {text}').exit_code == 0
    assert quick_node.run(1, key(step="next"), "true").state is AttemptState.DONE
    assert alive(stray(quick_node))


def test_a_step_that_signals_its_whole_group_still_has_a_result(node: Node) -> None:
    assert node.run(1, key(), "trap 'exit 9' TERM; kill -TERM 0; sleep 300").exit_code == 9


def test_a_step_that_a_shutdown_ended_together_with_its_supervisor_is_lost(node: Node) -> None:
    script = f"echo ready; {node.gate('never')}"
    node.run(1, key(), script, wait_s=0)
    until(lambda: node.status(1, key()).output_bytes, what="it never started")
    for process in node.processes():  # as systemd does: everybody is asked to end
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    assert node.until_state(AttemptState.LOST, 1, key()).reason == "supervisor died"
    assert node.run(1, key(), script, wait_s=0).state is AttemptState.LOST
    assert node.run(1, key(attempt=2), "true").state is AttemptState.DONE


def test_a_step_that_somebody_else_ended_has_a_result(node: Node) -> None:
    assert node.run(1, key(), "kill -TERM $$; sleep 300").exit_code == 128 + signal.SIGTERM


def test_a_step_runs_detached_with_a_small_environment(node: Node) -> None:
    node.environment.update(SSH_CLIENT="somebody", SECRET_OF_THE_SESSION="x")
    text = (
        'read -r line && echo "stdin is not empty"; env; pwd; umask;'
        " read -r stat </proc/self/stat; set -- ${stat##*) }; echo session=$4 tty=$5"
    )
    output = node.run(3, key(job="job", step="step", attempt=2), text).output.decode()
    expected = {
        f"HAMGR_ROOT={node.root}",
        f"HAMGR_STATE={node.state}",
        "HAMGR_EPOCH=3",
        "HAMGR_JOB=job",
        "HAMGR_STEP=step",
        "HAMGR_ATTEMPT=2",
        "HAMGR_LOCK_FD=7",
        "LC_ALL=C.UTF-8",
        f"HOME={node.environment['HOME']}",
        f"PATH={node.environment['PATH']}",
    }
    lines = output.splitlines()
    assert expected <= set(lines)
    assert {line.split("=")[0] for line in lines if "=" in line} <= {
        *(line.split("=")[0] for line in expected),
        *("PWD", "OLDPWD", "SHLVL", "_", "session"),
    }
    assert str(node.root) in lines
    assert "0022" in lines
    assert lines[-1].endswith("tty=0")
    assert f"session={os.getsid(0)} " not in lines[-1]
    assert "stdin is not empty" not in lines

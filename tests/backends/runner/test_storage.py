"""Disks that are full or failing, and machines that lack a tool: nothing is believed that was not stored."""

import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from backends.ports import AttemptState, CommandFailed
from backends.runner import answers, script
from tests.backends.runner.conftest import TOOLS
from tests.backends.runner.node import Node, key, run_call


def call_with_file_limit(
    node: Node, words: list[str], stdin: bytes, *, file_bytes_max: int
) -> tuple[int, bytes]:
    """Call a verb that can write no file beyond a size, as on a full disk: an error, not a signal."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

    done = subprocess.run(
        [*node.shell, str(node.runner), *words],
        input=stdin,
        capture_output=True,
        check=False,
        env=node.environment,
        preexec_fn=limit,
        timeout=20,
    )
    return done.returncode, done.stdout


def put_tool(node: Node, name: str, text: str) -> None:
    """Replace a tool of the node; `real` in `text` is the one that it stands for."""
    tool = Path(node.shell[0]).parent / name
    tool.unlink(missing_ok=True)
    tool.write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{text}\n")
    tool.chmod(0o755)


def test_a_fence_that_cannot_be_written_is_not_reported_and_not_obeyed(node: Node) -> None:
    node.fence(1)
    status, stdout = call_with_file_limit(node, script.fence_words(9, "j"), b"", file_bytes_max=0)
    assert status == 74
    with pytest.raises(CommandFailed, match="fence not stored"):
        answers.parse_fence("node", stdout, status, epoch=9)
    assert node.status(1, key()).state is AttemptState.ABSENT


def test_a_fence_that_cannot_be_synced_is_not_reported_and_not_obeyed(node: Node) -> None:
    node.fence(1)
    put_tool(node, "sync", 'case "$*" in *fence.new*) exit 1 ;; esac; exec $real "$@"')
    status, stdout, _ = node.call(script.fence_words(9, "j"))
    assert status == 74
    with pytest.raises(CommandFailed, match="fence not stored"):
        answers.parse_fence("node", stdout, status, epoch=9)
    assert (node.state / "fence").read_text() == "1\n"


@pytest.mark.parametrize("file_bytes_max", [0, 8, 60])
def test_an_attempt_that_cannot_be_recorded_is_not_started(node: Node, file_bytes_max: int) -> None:
    node.fence(1)
    words, body = run_call(1, key(), "touch effect")
    status, stdout = call_with_file_limit(node, words, body, file_bytes_max=file_bytes_max)
    assert status == 74
    with pytest.raises(CommandFailed, match="not stored"):
        answers.parse_status("node", stdout, status)
    assert not (node.root / "effect").exists()
    assert node.launches() == []
    assert node.status(1, key()).state is AttemptState.ABSENT
    assert node.run(1, key(), "touch effect").state is AttemptState.DONE


def test_an_attempt_whose_record_cannot_be_synced_is_not_started(node: Node) -> None:
    node.fence(1)
    put_tool(node, "sync", 'case "$*" in *.record*) exit 1 ;; esac; exec $real "$@"')
    status, stdout, _ = node.call(*run_call(1, key(), "touch effect"))
    assert status == 74
    with pytest.raises(CommandFailed, match="record not stored"):
        answers.parse_status("node", stdout, status)
    assert node.launches() == []
    assert not (node.root / "effect").exists()
    assert node.status(1, key()).state is AttemptState.ABSENT


def test_a_result_that_cannot_be_synced_is_never_reported_as_done(node: Node) -> None:
    put_tool(node, "sync", f'[ ! -e "{node.root}/over" ] || exit 1; exec $real "$@"')
    status = node.run(1, key(), "touch over; echo printed")
    assert (status.state, status.exit_code, status.reason) == (AttemptState.LOST, None, "result not stored")
    assert status.output == b"printed\n"
    (node.root / "over").unlink()
    assert node.status(1, key()).state is AttemptState.LOST
    assert node.status(1, key(), HAMGR_BOOT_ID="another-boot").state is AttemptState.LOST


def test_a_step_whose_output_finds_no_room_still_runs_to_its_end_and_has_a_result(node: Node) -> None:
    words, body = run_call(1, key(), "head -c 9000 /dev/zero && echo more; exit 3")
    status, stdout = call_with_file_limit(node, words, body, file_bytes_max=4096)
    answer = answers.parse_status("node", stdout, status)
    assert (answer.state, answer.exit_code, answer.output_bytes) == (AttemptState.DONE, 3, 4096)


def test_a_state_folder_that_cannot_be_made_is_a_clear_error(node: Node) -> None:
    (node.root / "var").write_text("in the way")
    status, stdout, _ = node.call(*run_call(1, key(), "touch effect"))
    assert status == 74
    with pytest.raises(CommandFailed, match="disk is full or read-only"):
        answers.parse_status("node", stdout, status)
    assert not (node.root / "effect").exists()


@pytest.mark.parametrize("tool", ["flock", "setsid", "tee", "sync"])
def test_a_missing_tool_is_named_before_anything_happens(quick_node: Node, tool: str, tmp_path: Path) -> None:
    tools = tmp_path / "few tools"
    tools.mkdir()
    for name in TOOLS.split(" "):
        found = shutil.which(name)
        assert found is not None
        if name != tool:
            (tools / name).symlink_to(found)
    quick_node.environment["PATH"] = str(tools)
    for call in (run_call(1, key(), "touch effect"), (script.fence_words(1, "j"), b"")):
        status, stdout, stderr = quick_node.call(*call)
        assert status == 69
        assert f"this machine has no {tool}".encode() in stderr
        with pytest.raises(CommandFailed, match=f"has no {tool}; install it"):
            answers.parse_status("node", stdout, status)
    assert quick_node.launches() == []
    assert not (quick_node.root / "effect").exists()
    assert not (quick_node.state / "fence").exists()


def test_output_that_is_still_on_its_way_when_a_step_ends_is_waited_for(node: Node) -> None:
    put_tool(node, "tee", 'sleep 0.3; exec $real "$@"')
    assert node.run(1, key(), "echo late").output == b"late\n"


def test_a_flock_without_a_time_limit_is_good_enough(quick_node: Node) -> None:
    put_tool(quick_node, "flock", 'case " $* " in *" -w "*) exit 1 ;; esac; exec $real "$@"')
    assert (
        quick_node.run(1, key(), f"{quick_node.gate('g')}; exit 6", wait_s=0.3).state is AttemptState.RUNNING
    )
    quick_node.open("g")
    assert quick_node.run(1, key(), f"{quick_node.gate('g')}; exit 6").exit_code == 6


def test_a_node_that_cannot_answer_after_a_launch_says_running_and_never_that_nothing_was_started(
    quick_node: Node,
) -> None:
    """`CommandFailed` promises that nothing was started, so it must not be the answer any more."""
    quick_node.fence(1)
    text = 'touch begun; rm "$HAMGR_STATE/fence.lock"; mkdir "$HAMGR_STATE/fence.lock"; sleep 300'
    assert quick_node.run(1, key(), text, wait_s=0.5).state is AttemptState.RUNNING
    assert (quick_node.root / "begun").exists()

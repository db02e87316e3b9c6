"""Guarantees 1 to 3 of the runner: the fence, one attempt at a time, and each attempt launched once."""

import os
import signal

import pytest

from backends.ports import AttemptState, CommandFailed, NodeBusy, ScriptMismatch, StaleEpoch
from backends.runner import answers, script
from tests.backends.runner.node import Node, key, run_call, until


def test_an_attempt_runs_once_and_its_repeat_adopts_the_result(node: Node) -> None:
    text = f'echo hello; echo x >>"{node.root}/effects"; exit 3'
    first = node.run(1, key(), text)
    assert (first.state, first.exit_code, first.adopted) == (AttemptState.DONE, 3, False)
    assert (first.output, first.output_bytes) == (b"hello\n", 6)
    second = node.run(1, key(), text)
    assert (second.state, second.exit_code, second.adopted) == (AttemptState.DONE, 3, True)
    assert second.output == b"hello\n"
    assert (node.root / "effects").read_text() == "x\n"
    assert node.launches() == ["1 j s 1"]


def test_a_running_attempt_is_adopted_and_not_started_again(node: Node) -> None:
    text = f'echo x >>"{node.root}/effects"; {node.gate("g")}; exit 4'
    first = node.run(1, key(), text, wait_s=0)
    assert (first.state, first.adopted) == (AttemptState.RUNNING, False)
    again = node.run(1, key(), text, wait_s=0.05)
    assert (again.state, again.adopted, again.exit_code) == (AttemptState.RUNNING, True, None)
    node.open("g")
    assert node.run(1, key(), text).exit_code == 4
    assert (node.root / "effects").read_text() == "x\n"


def test_several_callers_wait_for_the_same_end(node: Node) -> None:
    call = run_call(1, key(), node.gate("g") + "; echo over")
    waiting = [node.popen(*call) for _ in range(5)]
    until(lambda: len(node.launches()) == 1, what="nobody started it")
    node.open("g")
    for process in waiting:
        stdout, _ = process.communicate(timeout=20)
        status = answers.parse_status("node", stdout, process.returncode)
        assert (status.state, status.output) == (AttemptState.DONE, b"over\n")
    assert node.launches() == ["1 j s 1"]


def test_a_waiting_caller_does_not_hold_up_other_verbs(quick_node: Node) -> None:
    waiting = quick_node.popen(*run_call(1, key(), quick_node.gate("g")))
    until(quick_node.launches, what="it never started")
    assert quick_node.status(2, key()).state is AttemptState.RUNNING
    quick_node.fence(3)
    quick_node.open("g")
    stdout, _ = waiting.communicate(timeout=20)
    assert answers.parse_status("node", stdout, waiting.returncode).exit_code == 0


def test_a_second_attempt_is_refused_while_one_runs_and_the_holder_is_named(node: Node) -> None:
    node.run(1, key(), node.gate("g"), wait_s=0)
    with pytest.raises(NodeBusy) as refused:
        node.run(1, key(step="other"), f'touch "{node.root}/effect"')
    assert refused.value.holder == "j/s/1"
    assert node.launches() == ["1 j s 1"]
    assert node.status(1, key(step="other")).state is AttemptState.ABSENT
    node.open("g")
    node.until_state(AttemptState.DONE, 1, key())
    assert not (node.root / "effect").exists()


def test_another_script_under_the_same_name_is_refused_and_does_not_run(node: Node) -> None:
    node.run(1, key(), "exit 3")
    before = node.files()
    with pytest.raises(ScriptMismatch):
        node.run(1, key(), f'touch "{node.root}/effect"')
    assert node.files() == before


@pytest.mark.parametrize("verb", ["fence", "status", "run", "kill"])
def test_a_stale_epoch_is_refused_and_nothing_happens(node: Node, verb: str) -> None:
    node.run(5, key(), "echo started; " + node.gate("g"), wait_s=0)
    until(lambda: node.status(5, key()).output_bytes, what="it never started")
    before = node.files()
    calls = {
        "fence": (script.fence_words(4, "j2"), b""),
        "status": (script.status_words(4, key()), b""),
        "run": run_call(4, key(step="late"), f'touch "{node.root}/effect"'),
        "kill": (script.kill_words(4, key()), b""),
    }
    status, stdout, stderr = node.call(*calls[verb])
    assert status == 75
    assert b"epoch 4 is older than 5" in stderr
    with pytest.raises(StaleEpoch) as refused:
        answers.parse_status("node", stdout, status)
    assert refused.value.fence == 5
    assert node.files() == before
    assert node.status(5, key()).state is AttemptState.RUNNING


def test_every_verb_with_a_higher_epoch_raises_the_fence(quick_node: Node) -> None:
    quick_node.run(3, key(), "true")
    assert quick_node.status(5, key()).state is AttemptState.DONE
    quick_node.kill(7, key())
    with pytest.raises(StaleEpoch) as refused:
        quick_node.status(6, key())
    assert refused.value.fence == 7
    assert (quick_node.state / "fence").read_text() == "7\n"


def test_a_damaged_fence_stops_every_order(quick_node: Node) -> None:
    quick_node.fence(5)
    (quick_node.state / "fence").write_text("\0\0\0")
    before = quick_node.files()
    with pytest.raises(CommandFailed, match="fence damaged"):
        quick_node.run(9, key(), f'touch "{quick_node.root}/effect"')
    assert quick_node.files() == before


def test_a_script_that_did_not_arrive_whole_is_not_started(node: Node) -> None:
    words, body = run_call(1, key(), f'touch "{node.root}/effect"\n' + "#" * 9000)
    for cut in (body[:-1], body[:40], b""):
        status, stdout, _ = node.call(words, cut)
        assert status == 74
        with pytest.raises(CommandFailed, match="upload cut short"):
            answers.parse_status("node", stdout, status)
    assert node.status(1, key()).state is AttemptState.ABSENT
    assert node.launches() == []
    assert not list(node.state.glob("jobs/j/*"))
    assert not (node.root / "effect").exists()


def test_an_empty_script_and_one_of_a_megabyte_run_whole(node: Node) -> None:
    assert node.run(1, key(attempt=1), "").exit_code == 0
    long = "#" * 1_000_000 + "\necho end"
    assert node.run(1, key(attempt=2), long).output == b"end\n"


def test_a_caller_that_dies_while_it_waits_changes_nothing_for_the_attempt(node: Node) -> None:
    words, body = run_call(1, key(), f"touch begun; {node.gate('g')}; exit 6")
    caller = node.popen(words, body)
    until((node.root / "begun").exists, what="it never started")
    os.killpg(caller.pid, signal.SIGKILL)
    caller.communicate(timeout=20)
    node.open("g")
    assert node.run(1, key(), body).exit_code == 6
    assert node.launches() == ["1 j s 1"]


def test_results_of_old_jobs_are_forgotten_but_never_the_newest_eight(quick_node: Node) -> None:
    for number in range(10):
        quick_node.run(1, key(job=f"job{number}"), "true")
        os.utime(quick_node.state / f"jobs/job{number}", (1000 + number, 1000 + number))
    quick_node.fence(2, "job0")
    left = sorted(path.name for path in (quick_node.state / "jobs").iterdir())
    assert left == ["job0", *(f"job{number}" for number in range(2, 10))]
    assert len(quick_node.launches()) == 10


def test_a_running_job_is_never_forgotten(quick_node: Node) -> None:
    for number in range(9):
        quick_node.run(1, key(job=f"job{number}"), "true")
    quick_node.run(1, key(job="long"), quick_node.gate("g"), wait_s=0)
    os.utime(quick_node.state / "jobs/long", (1, 1))
    quick_node.fence(2, "next")
    assert (quick_node.state / "jobs/long").exists()
    assert quick_node.status(2, key(job="long")).state is AttemptState.RUNNING

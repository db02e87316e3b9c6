"""Many callers at once, from two epochs, with a fence in the middle: each effect exactly once."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from backends.ports import AttemptState, AttemptStatus, NodeBusy, StaleEpoch
from backends.runner import answers, script
from tests.backends.runner.node import Node, key, run_call, until

STARTS = 12


def parse(process: subprocess.Popen[bytes]) -> AttemptStatus | StaleEpoch | NodeBusy:
    """Return what the caller is told; any other error fails the test."""
    stdout, _ = process.communicate(timeout=20)
    try:
        return answers.parse_status("node", stdout, process.returncode)
    except (StaleEpoch, NodeBusy) as error:
        return error


@pytest.mark.parametrize("seed", range(6))
def test_starts_from_two_epochs_with_a_fence_between_take_effect_once(quick_node: Node, seed: int) -> None:
    old, new = 10 + 2 * seed, 11 + 2 * seed
    text = f'echo "$HAMGR_EPOCH" >>"{quick_node.root}/effects"'
    order = [old] * (STARTS // 2) + [new] * (STARTS // 2) + [None]
    Random(seed).shuffle(order)
    quick_node.fence(old)
    running = []
    for epoch in order:
        call = (script.fence_words(new, "j"), b"") if epoch is None else run_call(epoch, key(), text)
        running.append((epoch, quick_node.popen(*call)))
    results = [(epoch, parse(process)) for epoch, process in running if epoch is not None]
    for epoch, process in running:
        if epoch is None:
            stdout, _ = process.communicate(timeout=20)
            answers.parse_fence("node", stdout, process.returncode, epoch=new)
    effects = (quick_node.root / "effects").read_text().split()
    assert len(effects) == 1
    assert quick_node.launches() == [f"{effects[0]} j s 1"]
    for epoch, result in results:
        if epoch == new:
            assert isinstance(result, AttemptStatus)
        assert isinstance(result, StaleEpoch) or getattr(result, "state", None) is AttemptState.DONE
    started = [result for _, result in results if getattr(result, "adopted", True) is False]
    assert len(started) == 1


def test_nothing_of_an_old_epoch_begins_after_the_fence_has_answered(quick_node: Node) -> None:
    for round_number in range(6):
        old, new = 10 + 2 * round_number, 11 + 2 * round_number
        quick_node.fence(old)
        log = f'echo "$HAMGR_EPOCH" >>"{quick_node.root}/effects"'
        late = [quick_node.popen(*run_call(old, key(step=f"s{n}", attempt=old), log)) for n in range(6)]
        quick_node.fence(new)
        launched = quick_node.launches()
        for process in late:
            parse(process)
        assert quick_node.launches() == launched


def test_only_one_of_many_different_attempts_gets_the_node(quick_node: Node) -> None:
    text = f'echo x >>"{quick_node.root}/effects"; {quick_node.gate("g")}'
    calls = [run_call(1, key(step=f"s{n}"), text, wait_s=0) for n in range(8)]
    results = [parse(process) for process in [quick_node.popen(*call) for call in calls]]
    running = [result for result in results if not isinstance(result, NodeBusy)]
    assert len(running) == 1
    assert len(quick_node.launches()) == 1
    quick_node.open("g")


def test_steps_that_follow_each_other_at_once_are_never_refused_as_busy(quick_node: Node) -> None:
    for number in range(1, 16):
        text = "sleep 0.01"
        callers = [quick_node.popen(*run_call(1, key(attempt=number), text)) for _ in range(3)]
        first = callers[0].communicate(timeout=20)
        assert answers.parse_status("node", first[0], callers[0].returncode).state is AttemptState.DONE
        assert quick_node.run(1, key(step="next", attempt=number), "true").state is AttemptState.DONE
        for process in callers[1:]:
            parse(process)
    assert len(quick_node.launches()) == 30


def test_somebody_who_waited_for_the_last_attempt_does_not_make_the_node_busy(quick_node: Node) -> None:
    quick_node.run(1, key(), "true")
    with (quick_node.state / "run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # what a waiting caller has for a moment when it wakes up
        starting = quick_node.popen(*run_call(1, key(step="next"), "true"))
        time.sleep(0.05)
    status = parse(starting)
    assert isinstance(status, AttemptStatus)
    assert status.state is AttemptState.DONE


def states_of(group: int) -> set[str]:
    """Return the states (proc(5)) of the processes of a group."""
    states = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == group:
                    states.add(fields[0])
    return states


def test_who_waits_for_a_lost_attempt_is_told_though_another_one_has_the_node(quick_node: Node) -> None:
    text = f"echo last words; {quick_node.gate('never')}"
    quick_node.run(1, key(), text, wait_s=0)
    until(lambda: quick_node.status(1, key()).output_bytes, what="it never started")
    waiting = quick_node.popen(*run_call(1, key(), text))
    follower = quick_node.popen(script.follow_words(key(), offset=0))
    assert follower.stdout is not None
    follower.stdout.readline()
    time.sleep(0.2)  # both are waiting now; stopped, they miss the moment at which the node is free
    for process in (waiting, follower):
        os.killpg(process.pid, signal.SIGSTOP)
        until(lambda group=process.pid: states_of(group) == {"T"}, what="somebody did not stop")
    quick_node.end_everything()
    until(lambda: not quick_node.processes(), what="somebody survived")
    assert quick_node.run(1, key(step="next"), "sleep 300", wait_s=0).state is AttemptState.RUNNING
    for process in (waiting, follower):
        os.killpg(process.pid, signal.SIGCONT)
    status = parse(waiting)
    assert isinstance(status, AttemptStatus)
    assert (status.state, status.output) == (AttemptState.LOST, b"last words\n")
    assert follower.communicate(timeout=30)[0] == b"last words\n"
    assert quick_node.status(1, key(step="next")).state is AttemptState.RUNNING

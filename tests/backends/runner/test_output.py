"""Output: captured, capped, read in parts and followed, without loss and without repetition."""

import resource
import time

import pytest

from backends.ports import AttemptState, CommandFailed, LogChunk
from backends.runner import answers, script
from tests.backends.runner.node import Node, key, until

EVERY_BYTE = bytes(range(256)) * 4
CAP_BYTES = 16 * 1024 * 1024


def print_every_byte(times: int = 1) -> str:
    escapes = "".join(f"\\{byte:03o}" for byte in range(256))
    return f"i=0; while [ $i -lt {times * 4} ]; do printf '{escapes}'; i=$((i+1)); done"


def read_log(node: Node, offset: int, bytes_max: int) -> LogChunk:
    status, stdout, _ = node.call(script.log_words(key(), offset=offset, bytes_max=bytes_max))
    return answers.parse_log("node", stdout, status)


def test_both_streams_are_kept_in_order_and_the_answer_carries_the_tail(node: Node) -> None:
    status = node.run(1, key(), "echo one; echo two >&2; echo three", bytes_max=8)
    assert (status.output, status.output_bytes) == (b"o\nthree\n"[-8:], 14)
    assert node.run(1, key(), "echo one; echo two >&2; echo three", bytes_max=0).output == b""


def test_binary_output_comes_back_byte_for_byte(node: Node) -> None:
    assert node.run(1, key(), print_every_byte()).output == EVERY_BYTE


def test_a_running_attempt_shows_what_it_has_printed_so_far(node: Node) -> None:
    text = "echo early; " + node.gate("g")
    node.run(1, key(), text, wait_s=0)
    until(lambda: node.status(1, key()).output_bytes == 6, what="output is held back")
    running = node.run(1, key(), text, wait_s=0)
    assert (running.state, running.output) == (AttemptState.RUNNING, b"early\n")


def test_a_log_is_read_in_parts_that_fit_together(node: Node) -> None:
    node.run(1, key(), print_every_byte())
    data = b""
    while True:
        chunk = read_log(node, len(data), 300)
        assert chunk.offset == len(data)
        data += chunk.data
        if chunk.complete:
            break
    assert data == EVERY_BYTE
    assert read_log(node, 5000, 300) == LogChunk(
        offset=5000, data=b"", complete=True, output_bytes=len(EVERY_BYTE)
    )


def test_a_log_is_complete_only_when_the_attempt_is_over(node: Node) -> None:
    node.run(1, key(), "echo early; " + node.gate("g"), wait_s=0)
    until(lambda: node.status(1, key()).output_bytes == 6, what="output is held back")
    assert read_log(node, 0, 1000) == LogChunk(offset=0, data=b"early\n", complete=False, output_bytes=6)
    node.open("g")
    node.until_state(AttemptState.DONE, 1, key())
    assert read_log(node, 0, 1000) == LogChunk(offset=0, data=b"early\n", complete=True, output_bytes=6)


@pytest.mark.parametrize("words", [["log", "j", "s", "1", "0", "10"], ["follow", "j", "s", "1", "0"]])
def test_asking_for_a_log_that_does_not_exist_says_so_and_creates_nothing(
    node: Node, words: list[str]
) -> None:
    before = node.files()
    status, stdout, _ = node.call(words)
    with pytest.raises(CommandFailed, match="no such attempt"):
        answers.parse_log("node", stdout, status)
    assert node.files() == before


def test_following_a_fast_writer_loses_nothing_and_repeats_nothing(node: Node) -> None:
    text = print_every_byte(200) + f"; {node.gate('g')}; " + print_every_byte(50)
    node.run(1, key(), text, wait_s=0)
    follower = node.popen(script.follow_words(key(), offset=0))
    late = node.popen(script.follow_words(key(), offset=100_000))
    until(lambda: node.status(1, key()).output_bytes == 200 * len(EVERY_BYTE), what="the writer is slow")
    node.open("g")
    for process, offset in ((follower, 0), (late, 100_000)):
        stdout, _ = process.communicate(timeout=20)
        answer = answers.split(stdout)
        assert process.returncode == 0
        assert answer is not None
        assert answers.parse_follow_header("node", answer) == offset
        assert answer.rest == (EVERY_BYTE * 250)[offset:]


def test_a_follower_sees_a_line_while_the_step_goes_on(node: Node) -> None:
    node.run(1, key(), f"{node.gate('a')}; echo live; {node.gate('b')}", wait_s=0)
    follower = node.popen(script.follow_words(key(), offset=0))
    assert follower.stdout is not None
    assert follower.stdout.readline().startswith(answers.HEADER)
    node.open("a")
    assert follower.stdout.readline() == b"live\n"
    node.open("b")
    assert follower.communicate(timeout=20)[0] == b""
    assert follower.returncode == 0


def test_a_follower_of_a_lost_attempt_ends_with_what_there_is(node: Node) -> None:
    node.run(1, key(), f"echo last words; {node.gate('never')}", wait_s=0)
    until(lambda: node.status(1, key()).output_bytes, what="it never started")
    follower = node.popen(script.follow_words(key(), offset=0))
    assert follower.stdout is not None
    follower.stdout.readline()
    node.end_everything()
    assert follower.communicate(timeout=20)[0] == b"last words\n"


def test_waiting_takes_next_to_no_processor_time(quick_node: Node) -> None:
    text = "sleep 300"
    quick_node.run(1, key(), text, wait_s=0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    assert quick_node.run(1, key(), text, wait_s=1.5).state is AttemptState.RUNNING
    assert time.monotonic() - begun >= 1.5
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


def test_a_flood_is_capped_on_the_disk_and_does_not_stop_the_step(quick_node: Node) -> None:
    text = "head -c 60000000 /dev/zero; echo rc=$? >&2; touch survived; exit 5"
    status = quick_node.run(1, key(), text, wait_s=20, bytes_max=100)
    assert (status.state, status.exit_code) == (AttemptState.DONE, 5)
    assert status.output_bytes == CAP_BYTES
    assert status.output == b"\0" * 100
    assert (quick_node.root / "survived").exists()

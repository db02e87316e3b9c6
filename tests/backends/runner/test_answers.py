"""The parser: noise, cuts, lies and absurd sizes never become a statement about an attempt."""

from random import Random

import pytest

from backends.ports import AttemptState, BackendError, CommandFailed, NodeBusy, ScriptMismatch, StaleEpoch
from backends.runner import answers

DONE = b"hamgr-runner 1 state=done rc=3 adopted=1 size=9 fence=4 body=3\nab\n"


def test_an_answer_is_found_behind_what_a_login_shell_prints() -> None:
    noise = b"Welcome!\n\xff\x00 hamgr-runner 1 not at the start\nhamgr-runner 2 state=done\n"
    status = answers.parse_status("n1", noise + DONE, 0)
    assert (status.state, status.exit_code, status.adopted) == (AttemptState.DONE, 3, True)
    assert (status.output_bytes, status.output) == (9, b"ab\n")


def test_the_first_header_counts_and_output_that_looks_like_one_is_output() -> None:
    body = b"hamgr-runner 1 state=lost size=0 body=0\n"
    stdout = b"hamgr-runner 1 state=done rc=0 adopted=0 size=40 fence=1 body=40\n" + body
    assert answers.parse_status("n1", stdout, 0).output == body


def test_bytes_after_the_body_are_not_output() -> None:
    assert answers.parse_status("n1", DONE + b"logout\n", 0).output == b"ab\n"


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"hamgr-runner 1 state=done rc=0 size=0 body=0",
        b"noise" * 20_000 + b"\n" + DONE,
        b"hamgr-runner 1 state=done rc=0 size=0 body=0" + b" x" * 1000 + b"\n",
        DONE[:-1],
        DONE.replace(b"body=3", b"body=99999999999"),
        DONE.replace(b"body=3", b"body=-1"),
        DONE.replace(b"body=3", b"body=" + b"9" * 5000),
        DONE.replace(b"body=3 ", b"").replace(b"body=3", b""),
        DONE.replace(b"size=9", b"size=x"),
        DONE.replace(b"rc=3 ", b""),
        DONE.replace(b"rc=3", b"rc=\xc2\xb2"),
        DONE.replace(b"state=done", b"state=finished"),
        DONE.replace(b"state=done", b"state=running"),
        DONE.replace(b"state=done ", b""),
    ],
)
def test_an_answer_that_is_cut_or_nonsense_is_refused(stdout: bytes) -> None:
    with pytest.raises(CommandFailed):
        answers.parse_status("n1", stdout, 0)


def test_every_refusal_becomes_its_error() -> None:
    with pytest.raises(StaleEpoch) as stale:
        answers.parse_status("n1", b"hamgr-runner 1 fence=12\n", 75)
    assert stale.value.fence == 12
    with pytest.raises(NodeBusy) as busy:
        answers.parse_status("n1", b"hamgr-runner 1 holder=j/s/1\n", 76)
    assert busy.value.holder == "j/s/1"
    with pytest.raises(ScriptMismatch):
        answers.parse_status("n1", b"hamgr-runner 1 state=done\n", 77)
    with pytest.raises(CommandFailed, match="has no flock, setsid; install it"):
        answers.parse_status("n1", b"hamgr-runner 1 reason=missing-flock,setsid\n", 69)
    with pytest.raises(CommandFailed, match="record not stored"):
        answers.parse_status("n1", b"hamgr-runner 1 reason=record-not-stored\n", 74)


@pytest.mark.parametrize("exit_status", [1, 64, 69, 74, 75, 76, 126, 127, 137, 255])
def test_a_failed_command_is_never_a_status_whatever_it_printed(exit_status: int) -> None:
    with pytest.raises(BackendError):
        answers.parse_status("n1", DONE, exit_status)


def test_a_missing_runner_is_told_from_one_that_refuses() -> None:
    assert answers.is_not_installed(b"", 127)
    assert answers.is_not_installed(b"motd\n", 2)
    assert not answers.is_not_installed(b"hamgr-runner 1 reason=usage\n", 2)
    assert not answers.is_not_installed(b"", 255)


def test_a_fence_that_is_not_ours_is_not_an_acceptance() -> None:
    answers.parse_fence("n1", b"hamgr-runner 1 fence=5\n", 0, epoch=5)
    with pytest.raises(CommandFailed):
        answers.parse_fence("n1", b"hamgr-runner 1 fence=4\n", 0, epoch=5)


def test_facts_that_were_cut_or_belong_to_nobody_are_refused() -> None:
    facts = b"hamgr-runner 1 state=facts\nmachine_id=abc\nhostname=n1\nos=\x1b[31mred\nepoch=3\nmissing=\n"
    report = answers.parse_facts("n1", facts, 0, host_key="k")
    assert (report.machine_id, report.epoch, report.facts["os"]) == ("abc", 3, "[31mred")
    for bad in (facts[:-10], facts.replace(b"epoch=3", b"epoch=x"), facts.replace(b"=abc", b"=")):
        with pytest.raises(CommandFailed):
            answers.parse_facts("n1", bad, 0, host_key="k")


def test_random_bytes_never_raise_anything_but_a_backend_error() -> None:
    random = Random(7)
    for _ in range(3000):
        data = bytearray(DONE)
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        for parse in (answers.parse_status, answers.parse_log):
            try:
                parse("n1", bytes(data), random.choice([0, 0, 0, 74, 75, 76, 77]))
            except BackendError:
                continue

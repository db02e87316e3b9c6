"""The operator's fencing command, as a process."""

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from hamgr.fencing.runner import WORDS_BYTES_MAX, CommandFence
from hamgr.fencing.settings import FencingSection
from hamgr.raft.protocol.membership import Member, ReplicaId

OTHER = Member(id=ReplicaId("00000000-0000-4000-8000-000000000001"), name="r2", raft="[fd00::2]:7001")


def fence(tmp_path, script, **more):
    path = tmp_path / "fence.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return CommandFence(FencingSection(command=(str(path), "--lab"), **more))


async def test_it_gets_verb_name_and_address_and_its_words_are_kept(tmp_path):
    verdict = await fence(tmp_path, 'echo "$@"; echo bad >&2').off(OTHER)
    assert verdict.ok
    assert verdict.words.endswith("off ended with 0: --lab off r2 fd00::2 bad")


@pytest.mark.parametrize("script", ["exit 1", "exit 75", "kill -KILL $$"])
async def test_any_other_end_than_status_0_is_not_fenced(tmp_path, script):
    assert not (await fence(tmp_path, script).off(OTHER)).ok
    assert not (await fence(tmp_path, script).status(OTHER)).ok


async def test_a_command_that_takes_too_long_is_killed_with_what_it_started(tmp_path):
    mark = tmp_path / "mark"
    script = f'(trap "" TERM; sleep 600) & echo $! > {mark}; echo so far; wait'
    verdict = await fence(tmp_path, script, timeout_s=2.0).off(OTHER)
    assert not verdict.ok
    assert "took more than 2 s" in verdict.words
    if mark.exists():  # else the machine was too slow for the script to begin
        pid = mark.read_text().strip()
        deadline = time.monotonic() + 30.0
        while lives(pid):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def lives(pid):
    """Return whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_of_much_output_the_end_is_kept(tmp_path):
    verdict = await fence(tmp_path, "yes | head -c 200000; echo the end").off(OTHER)
    assert verdict.ok
    assert verdict.words.endswith("the end")
    assert len(verdict.words) < WORDS_BYTES_MAX + 200


async def test_a_command_that_is_not_there_is_named(tmp_path):
    verdict = await CommandFence(FencingSection(command=(str(tmp_path / "none"),))).off(OTHER)
    assert not verdict.ok
    assert "none cannot be started: No such file" in verdict.words


@pytest.mark.parametrize(
    "given", [{"command": []}, {"command": ["fence.sh"]}, {"command": ["/f"], "timeout_s": 0}, {"nope": 1}]
)
def test_settings_that_mean_nothing_are_refused(given):
    with pytest.raises(ValidationError):
        FencingSection(**given)

"""Looks over SSH: what only a real shell on a real channel can do wrong."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.ports import CommandFailed, Look, TimedOut
from backends.ssh import looks
from backends.ssh.sandbox.processes import processes_of
from tests.backends.worlds import SandboxWorld, World, world


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[SandboxWorld]:
    async with world("sandbox", tmp_path) as running:
        assert isinstance(running, SandboxWorld)
        yield running


async def look(there: World, script: str, *, timeout_s: float = 20) -> Look:
    return await there.executor.look(there.host, script.encode(), timeout_s=timeout_s, output_bytes_max=4096)


async def test_a_look_has_the_environment_of_a_step_and_no_input(node: SandboxWorld) -> None:
    seen = await look(node, 'cat; pwd; umask; echo "$HAMGR_ROOT $HAMGR_STATE ${HAMGR_JOB-none} $LC_ALL"')
    root = node.root
    assert seen.output.decode().splitlines() == [
        str(root),
        "0022",
        f"{root} {root}/var/lib/hamgr none C.UTF-8",
    ]


async def test_errors_come_in_the_order_in_which_they_were_printed(node: SandboxWorld) -> None:
    seen = await look(node, "echo one; echo two >&2; echo three; exit 9")
    assert seen == Look(exit_code=9, output=b"one\ntwo\nthree\n")


async def test_a_flood_is_cut_off_and_has_no_exit_code(node: SandboxWorld) -> None:
    seen = await look(node, "echo begin; yes flood")
    assert (seen.exit_code, seen.truncated, len(seen.output)) == (None, True, 4096)
    assert seen.output.startswith(b"begin\nflood\n")


async def test_what_hangs_is_killed_on_the_node_with_its_children(node: SandboxWorld) -> None:
    await look(node, "true")  # so that the time is not spent on the way
    with pytest.raises(TimedOut):
        await look(node, "trap '' TERM HUP INT; sleep 3600 & sleep 3600", timeout_s=1.5)
    give_up_at = time.monotonic() + 20
    while _sleepers(node):
        assert time.monotonic() < give_up_at, "the look went on without us"
        await asyncio.sleep(0.05)


async def test_a_script_that_arrives_in_part_does_nothing(
    node: SandboxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = node.root / "tmp/happened"
    whole = looks.enclosed(f": >{mark}\necho the rest\n".encode())
    monkeypatch.setattr(looks, "enclosed", lambda _script: whole[: whole.index(b"echo")])
    seen = await look(node, "")
    assert seen.exit_code != 0
    assert not mark.exists()


async def test_a_script_without_a_last_newline_is_whole(node: SandboxWorld) -> None:
    assert (await look(node, "echo whole # of it")).output == b"whole\n"
    assert (await look(node, "cat <<'E'\nhere\nE")).output == b"here\n"


async def test_a_login_that_prints_first_does_not_speak_for_the_script(node: SandboxWorld) -> None:
    profile = node.root / "bin/sh"
    profile.write_text('#!/bin/sh\necho "Welcome! hamgr: unchanged"\nexec /bin/sh "$@"\n')
    profile.chmod(0o755)
    # The sandbox's PATH finds this one first, so it stands for a login that talks before it runs anything.
    seen = await look(node, "echo mine")
    assert seen.output.splitlines()[-1] == b"mine"


async def test_a_login_that_runs_nothing_is_told_as_such(
    node: SandboxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "COMMAND", "echo This account is not available; exit 1 #")
    with pytest.raises(CommandFailed, match="did not run the script"):
        await look(node, "echo mine")


async def test_a_login_that_prints_without_end_is_given_up(
    node: SandboxWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "COMMAND", "yes noise #")
    with pytest.raises(CommandFailed, match="did not run the script"):
        await look(node, "echo mine")


async def test_a_look_needs_no_runner_on_the_node(node: SandboxWorld) -> None:
    await look(node, "true")
    assert not (node.root / "var/lib/hamgr").exists()


async def test_one_shell_serves_look_after_look_and_none_leaves_anything_to_the_next(
    node: SandboxWorld,
) -> None:
    loop = "cut -d' ' -f4 /proc/$PPID/stat"  # the parent of timeout(1)
    first = await look(node, f"{loop}; cd /; x=1; umask 077; exec 3</dev/null; trap 'echo late' EXIT")
    second = await look(node, f'{loop}; pwd; echo "${{x-unset}}"; umask')
    assert second.output.splitlines()[0] == first.output.splitlines()[0]
    assert second.output.decode().splitlines()[1:] == [str(node.root), "unset", "0022"]


@pytest.mark.parametrize(
    "script", ["}", "{", ")", "'", 'echo "', "cat <<E", "exit 7", "kill -9 $$", "echo a\0b", "exec 1>&-"]
)
async def test_whatever_a_script_is_the_next_look_sees(node: SandboxWorld, script: str) -> None:
    await look(node, script)
    assert await look(node, "echo well; exit 4") == Look(exit_code=4, output=b"well\n")


async def test_what_is_left_behind_holds_up_no_look_and_ends_no_other(node: SandboxWorld) -> None:
    gate, spoken = node.root / "gate", node.root / "spoken"
    late = f'until [ -e "{gate}" ]; do sleep 0.05; done; echo late; touch "{spoken}"'
    seen = await look(node, f"({late}) & echo now")
    assert seen.output == b"now\n"
    gate.touch()
    give_up_at = time.monotonic() + 30
    while not spoken.exists():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.02)
    assert (await look(node, "echo next")).output == b"next\n"


async def test_a_short_look_passes_a_long_one_and_both_shells_serve_again(node: SandboxWorld) -> None:
    long = asyncio.ensure_future(look(node, "sleep 3600; echo woken"))
    give_up_at = time.monotonic() + 15
    while not _sleepers(node):
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.02)
    short = await look(node, "echo $PPID; echo short")
    assert short.output.endswith(b"short\n")
    assert not long.done()
    for pid in _sleepers(node):
        os.kill(pid, signal.SIGKILL)
    assert (await long).output.endswith(b"woken\n")
    together = [look(node, "sleep 0.3; echo $PPID") for _ in range(6)]
    assert {seen.exit_code for seen in await asyncio.gather(*together)} == {0}


async def test_a_shell_that_died_between_two_looks_is_replaced(node: SandboxWorld) -> None:
    loop = await look(node, "cut -d' ' -f4 /proc/$PPID/stat")
    os.kill(int(loop.output), signal.SIGKILL)
    assert (await look(node, "echo again")).output == b"again\n"


async def test_what_is_to_run_once_is_never_sent_again_when_its_answer_is_lost(node: SandboxWorld) -> None:
    script = b"echo ran >>\"$HAMGR_ROOT/tmp/count\"; kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 5"
    for _ in range(2):  # on a new session, and on one that was kept
        await look(node, "true")
        with pytest.raises(TimedOut, match="may have run"):
            await node.executor.look(node.host, script, timeout_s=20, output_bytes_max=4096, once=True)
    assert (node.root / "tmp/count").read_text() == "ran\nran\n"


def _sleepers(node: SandboxWorld) -> list[int]:
    found = []
    for pid in processes_of([node.root]):
        with contextlib.suppress(OSError):  # gone since
            if b"sleep\x003600" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found

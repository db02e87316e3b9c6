"""`hamgrd recover --report` and the comparison, on data folders as they are on disks."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hamgr import config
from hamgr.membership import credentials_of
from hamgr.raft.store.folder import Folder
from hamgr.recovery import survivor
from hamgr.recovery.survivor import CannotRecover
from tests.hamgr.recovery.conftest import Machine, Machines, hamgrd
from tests.hamgr.recovery.histories import replica_id


def test_a_report_says_what_the_folder_holds_and_changes_nothing(machines: Machines) -> None:
    one = machines(3)[1]
    one.write([0, 1, 1, 4], commit=2)
    before = one.files()
    found = survivor.load(one.report())
    assert one.files() == before
    assert (found.name, found.term, found.commit, found.last, found.last_term) == ("r2", 4, 2, 4, 4)
    assert [(run.first, run.term) for run in found.runs] == [(1, 0), (2, 1), (4, 4)]
    assert [member.name for member in found.voters] == ["r1", "r2", "r3"]
    assert [(e.index, e.command, e.actor, e.request) for e in found.tail] == [
        (3, "SetGlobals", "ann", "q-3"),
        (4, "SetGlobals", "ann", "q-4"),
    ]


def test_nothing_of_what_commands_contain_is_in_a_report(machines: Machines) -> None:
    one = machines(3)[0]
    one.write([0, 1, 1], commit=1)
    assert "x3" not in one.report().read_text()


def test_a_running_replica_makes_no_report(machines: Machines) -> None:
    one = machines(3)[0]
    folder = Folder(one.data / "raft")
    try:
        done = hamgrd("recover", "--report", "--config", one.config)
    finally:
        folder.close()
    assert done.exit_code == 1
    assert "replica r1 runs" in done.output
    assert "systemctl stop hamgrd" in done.output


def test_a_damaged_log_is_no_survivors(machines: Machines) -> None:
    one = machines(3)[0]
    one.write([0, 1, 1], commit=3)
    journal = one.data / "raft" / "journal"
    data = bytearray(journal.read_bytes())
    data[60] ^= 1
    journal.write_bytes(data)
    done = hamgrd("recover", "--config", one.config)
    assert done.exit_code == 1
    assert "journal at byte" in done.output
    assert "other survivors" in done.output


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"report": "hamgr survivor"}'])
def test_what_is_no_report_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CannotRecover, match=r"x\.json is not a survivor's report.*make it again"):
        survivor.load(tmp_path / "x.json")


def test_the_survivor_with_the_most_complete_log_is_named_on_the_others(machines: Machines) -> None:
    first, second, *_dead = machines(5)
    first.write([0, 1, 1], commit=2)
    second.write([0, 1, 1, 1, 1], commit=3)
    done = hamgrd("recover", "--config", first.config, "--with", second.report())
    assert done.exit_code == 1
    assert "the log of r2 is to be used (last entry 5 of term 1, here 3 of term 1)" in done.output
    assert "run this on r2, with the report of r1" in done.output
    done = hamgrd("recover", "--config", second.config, "--with", first.report(), "-o", "json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["chosen"], said["sure"], said["last"], said["lost_after"]) == ("r2", 3, 5, 5)
    assert said["kept_unsure"]["spans"] == [{"first": 4, "last": 5, "on": ["r2"]}]
    assert [entry["request"] for entry in said["kept_unsure"]["entries"]] == ["q-4", "q-5"]
    members = {member["name"]: member["alive"] for member in said["members"]}
    assert members == dict.fromkeys(("r1", "r3", "r4", "r5"), False)
    text = hamgrd("recover", "--config", second.config, "--with", first.report()).output
    assert "committed for sure: all entries up to 3" in text
    assert "SetGlobals by ann (request q-5)" in text
    assert "lost: entries after 5, if any" in text
    assert "are off, and not just cut off from here" in text


def test_a_majority_of_reports_is_refused(machines: Machines) -> None:
    first, second, _third = machines(3)
    first.write([0, 1, 1], commit=2)
    second.write([0, 1, 1], commit=2)
    done = hamgrd("recover", "--config", first.config, "--with", second.report())
    assert done.exit_code == 1
    assert "a majority is left: r1 and r2, 2 of 3 voters; start them instead" in done.output


@contextlib.asynccontextmanager
async def listening(machine: Machine) -> AsyncIterator[None]:
    """Be a process that has a replica's certificate, at its address."""
    context = credentials_of(config.load(machine.config)).server_context()
    host, _, port = machine.raft.rpartition(":")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), host, int(port), ssl=context)
    async with server:
        yield


async def said(here: Machine, *words: object) -> str:
    done = await asyncio.to_thread(hamgrd, "recover", "--config", here.config, *words)
    assert done.exit_code == 1
    return done.output


async def test_a_majority_that_answers_is_refused_with_proof(machines: Machines) -> None:
    first, second, third = machines(3)
    first.write([0, 1, 1], commit=2)
    async with listening(second):
        output = await said(first)
        assert "a majority is left: r1 and r2, 2 of 3 voters" in output
        assert f"r2 answered at {second.raft} with its certificate ({replica_id(2)})" in output
        async with listening(third):
            assert "r1 and r2 and r3, 3 of 3" in await said(first)


async def test_who_answers_and_is_in_no_report_is_named(machines: Machines) -> None:
    first, second, *_dead = machines(5)
    first.write([0, 1, 1], commit=2)
    second.write([0, 1, 1, 1], commit=2)
    report = second.report()
    async with listening(second):
        assert "r2 answered and is in no report" in await said(first)
        assert "r2 runs" in await said(first, "--with", report)


async def test_somebody_else_at_a_members_address_is_not_taken_for_it(
    machines: Machines, tmp_path: Path
) -> None:
    first, second, third = machines(3)
    first.write([0, 1, 1], commit=2)
    context = credentials_of(config.load(third.config)).server_context()
    assert isinstance(context, ssl.SSLContext)
    host, _, port = second.raft.rpartition(":")
    server = await asyncio.start_server(lambda _r, writer: writer.close(), host, int(port), ssl=context)
    async with server:
        done = await asyncio.to_thread(hamgrd, "recover", "--config", first.config)
    assert done.exit_code == 0
    assert f"r2 is not at {second.raft}: r3 is" in done.output

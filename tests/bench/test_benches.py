"""The benches work: tiny runs, with etcd beside hamgr where it is installed. No time is asserted."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench import __main__ as benches
from tests.bench import consensus, cpu, etcd, failover, five_steps, idle, restart
from tests.bench.account import Account
from tests.bench.consensus_client import Address, Refused, ask, load, send_all

pytestmark = pytest.mark.bench

ALONE = not etcd.installed()
SIDES = {"hamgr"} if ALONE else {"etcd", "hamgr"}


def test_hamgr_does_all_steps_on_all_nodes_and_the_figures_add_up(tmp_path: Path) -> None:
    rounds = five_steps.measured(tmp_path, 2, 1, peer=False)
    assert {side: len(taken) for side, taken in rounds.items()} == {"floor": 1, "hamgr": 1}
    for one in (rounds["floor"][0], rounds["hamgr"][0]):
        assert one.wall_s > 0
        assert one.cpu_s == one.control_s + one.nodes_s
    for node in ("node-001", "node-002"):
        root = tmp_path / node / "root"
        assert (root / "etc/bench.conf").read_text() == "version=1\n"
        steps = (root / "var/bench/log").read_text().split()
        # The commissioning before the round, and the round's upgrade.
        assert steps == [f"work.0{place}.bench.{name}" for place, name in enumerate_steps()] * 2
    assert "hamgr" in five_steps.table(rounds, 2)


def enumerate_steps() -> list[tuple[int, str]]:
    return list(enumerate(("one", "two", "three"), start=1))


def test_an_account_counts_what_was_left_behind_and_ends_it(tmp_path: Path) -> None:
    with Account(tmp_path) as account:
        burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
        ended = account.run(["sh", "-c", f"setsid sh -c '{burn}; exec sleep 60' & echo $!; exit 3"], {})
        assert ended.exit_code == 3
        orphan = int(ended.output)
        while not Path(f"/proc/{orphan}/cmdline").read_bytes().startswith(b"sleep"):
            pass
        used = cpu.usage(orphan)
        assert used is not None
        assert 0 < used.ticks / cpu.TICKS_PER_S <= account.cpu_s()
    assert cpu.usage(orphan) is None


def test_the_list_names_every_bench_and_an_unknown_one_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert benches.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in benches.BENCHES)
    assert benches.main(["nonsense"]) == 2
    assert "five_steps" in capsys.readouterr().err


def test_the_cost_of_apply_is_told_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert benches.main(["apply", "--nodes", "50", "--rounds", "2", "--json"]) == 0
    calls = json.loads(capsys.readouterr().out)["calls"]
    assert {"ClaimTask", "StartAttempt", "FinishAttempt", "pending()"} <= set(calls)


def test_every_case_of_consensus_is_answered_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consensus, "SETTLE_S", 0.0)
    found = consensus.measured(tmp_path, rounds=1, seconds=0.2, alone=ALONE, clients_max=4)
    for case in consensus.CASES:
        assert set(found[case.title]) == SIDES
        for (one,) in found[case.title].values():
            assert one.per_s > 0
            assert 0 < one.median_ms <= one.p99_ms
            assert one.answer_bytes > 100
        assert case.title in consensus.table(found, 1)


def test_a_ratio_beside_the_peer_is_of_waits_for_one_client_and_of_rates_for_many() -> None:
    own = consensus.Figures(
        per_s=200.0, median_ms=2.0, p99_ms=3.0, servers_us=1.0, client_us=1.0, answer_bytes=100.0
    )
    peer = consensus.Figures(
        per_s=100.0, median_ms=4.0, p99_ms=5.0, servers_us=1.0, client_us=1.0, answer_bytes=100.0
    )
    found = {case.title: {"etcd": [peer], "hamgr": [own]} for case in consensus.CASES}
    one, many = consensus.CASES[0], consensus.CASES[2]
    assert consensus.ratio(one, {"etcd": peer, "hamgr": own}) == 0.5
    assert consensus.ratio(many, {"etcd": peer, "hamgr": own}) == 2.0
    assert "MISSED" not in consensus.table(found, 1)
    worse = {title: {"etcd": sides["hamgr"], "hamgr": sides["etcd"]} for title, sides in found.items()}
    assert consensus.table(worse, 1).count("MISSED") == sum(case.goal for case in consensus.CASES)


def test_a_failover_ends_with_an_acknowledged_write_and_the_dead_one_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "CALM_S", (0.0, 0.1))
    found = failover.measured(tmp_path, trials=2, alone=ALONE)
    assert set(found) == SIDES
    for times in found.values():
        assert len(times) == 2  # the second kill needs all three again
        assert all(0 < took_s < failover.TRIAL_S_MAX for took_s in times)
    assert "hamgr" in failover.table(found)


def test_idle_replicas_are_watched_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "CALM_S", 0.1)
    found = idle.measured(tmp_path, seconds=0.5, alone=ALONE)
    assert set(found) == SIDES
    assert [one.name for one in found["hamgr"]] == ["r1", "r2", "r3"]
    for members in found.values():
        assert sum(one.leads for one in members) == 1
        assert all(one.resident_mib > 1 for one in members)
    assert "hamgr" in idle.table(found, 0.5)


def test_restarted_replicas_are_back_with_everything(tmp_path: Path) -> None:
    found = restart.measured(tmp_path, commands=60, nodes=20)
    assert [one.led for one in found.returns] == [False, True]
    assert all(one.seconds > 0 and one.disk_mib > 0 for one in found.returns)
    assert "60 commands, 20 nodes" in restart.table(found)


def test_a_peer_that_is_not_installed_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for bench in ("consensus", "failover", "idle"):
        with pytest.raises(SystemExit):
            benches.main([bench])
        assert etcd.MISSING in capsys.readouterr().err


@pytest.fixture
async def server() -> AsyncIterator[tuple[Address, list[bytes]]]:
    """Answers each line-ended head with what the path says, in two pieces, and remembers it."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while head := await reader.readline():
                await reader.readuntil(b"\r\n")
                path = head.split()[1]
                seen.append(path)
                if path == b"/closes":
                    return
                status = b"503 Busy" if path == b"/refuses" else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\ncontent-length: 5\r\n" % status)
                await asyncio.sleep(0)
                writer.write(b"\r\nhello")

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[:2], seen


async def test_clients_count_answers_and_each_request_is_sent_once(
    server: tuple[Address, list[bytes]],
) -> None:
    address, seen = server
    found = await load([address], lambda n: b"GET /%d HTTP/1.1\r\n\r\n" % n, clients=3, seconds=0.1)
    assert 0 < found.count <= len(seen) == len(set(seen))
    assert found.answer_bytes == len(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    del seen[:]
    await send_all(address, lambda n: b"GET /%d HTTP/1.1\r\n\r\n" % n, clients=3, count=10)
    assert sorted(seen) == sorted(b"/%d" % n for n in range(10))
    assert await ask(address, b"GET /x HTTP/1.1\r\n\r\n") == b"hello"


@pytest.mark.parametrize("path", [b"/refuses", b"/closes"])
async def test_a_refusal_ends_the_run_instead_of_counting(
    server: tuple[Address, list[bytes]], path: bytes
) -> None:
    address, _ = server
    request = b"GET %b HTTP/1.1\r\n\r\n" % path
    with pytest.raises(Refused):
        await load([address], lambda _: request, clients=2, seconds=5)
    with pytest.raises(Refused):
        await ask(address, request)

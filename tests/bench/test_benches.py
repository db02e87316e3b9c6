"""The benches work: tiny runs of hamgr's side. No time is asserted."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as benches
from tests.bench import cpu, five_steps
from tests.bench.account import Account

pytestmark = pytest.mark.bench


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

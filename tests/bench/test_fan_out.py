"""`fan_out` works: hamgr's own sides in a tiny run, and how figures are judged. No time is asserted."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.bench import fan_out, five_steps, peers
from tests.bench.endpoints import Endpoint, Fleet
from tests.bench.fan_out import Case
from tests.bench.sides import Round

COLD, WARM = Case("cold", "true"), Case("warm", "true")


def took(wall_s: float, *, control_s: float = 1.0) -> list[Round]:
    return [Round(wall_s=wall_s, control_s=control_s, nodes_s=1.0, machine_s=2.0)]


def found(cold: Mapping[str, float], warm: Mapping[str, float]) -> fan_out.Found:
    return {
        COLD.title: {name: took(wall_s) for name, wall_s in cold.items()},
        WARM.title: {name: took(wall_s) for name, wall_s in warm.items()},
    }


@pytest.mark.bench
def test_the_command_runs_on_all_nodes_cold_and_warm_through_every_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "SETTLE_S", 0.0)
    rounds = fan_out.measured(tmp_path, 2, 1, programs=None, cases=(COLD, WARM))
    assert set(rounds[COLD.title]) == {"login", "sessions", "look", "executor", "verify", "api", "hamgr"}
    assert set(rounds[WARM.title]) == {"sessions", "look", "executor", "verify", "api", "hamgr"}
    for sides in rounds.values():
        for (one,) in sides.values():
            assert one.wall_s > 0
            assert one.nodes_s > 0
    for node in ("node-001", "node-002"):
        steps = [
            line.split()[2]
            for line in (tmp_path / node / "root/var/lib/hamgr/launches").read_text().splitlines()
        ]
        assert [step for step in steps if step.startswith("verify")], "commission proves what it did"
    assert "hamgr" in fan_out.table(rounds, 2, (COLD, WARM))


def test_the_goals_are_judged_against_the_quickest_peer_of_each_kind() -> None:
    good = found(
        {"login": 0.5, "hamgr": 1.0, "clush": 1.2, "pyinfra": 1.0, "ansible": 9.0},
        {"hamgr": 1.0, "api": 0.5, "clush": 5.0, "pyinfra": 0.1, "ansible": 9.0},
    )
    assert [met for _, met in fan_out.goals((COLD, WARM), good)] == [True, True, True]
    slow = found(
        {"hamgr": 1.1, "clush": 1.2, "pyinfra": 1.0}, {"hamgr": 1.0, "api": 0.9, "clush": 9.0, "ansible": 4.9}
    )
    judged = fan_out.goals((COLD, WARM), slow)
    assert [met for _, met in judged] == [False, False, True]
    assert "pyinfra (0.91)" in judged[0][0]
    assert "ansible (4.90)" in judged[1][0]


def test_a_program_of_ours_on_a_peers_library_is_shown_but_is_no_product() -> None:
    rounds = found(
        {"login": 0.5, "hamgr": 1.0, "clush": 1.2}, {"hamgr": 1.0, "api": 1.0, "clush": 5.0, "pyinfra": 0.1}
    )
    text = fan_out.table(rounds, 10, (COLD, WARM))
    assert "[pyinfra]" in text
    assert "[login]" in text
    assert "[clush]" not in text
    assert "sshd alone" in text


def test_the_end_that_gives_the_orders_is_compared_by_processor_time() -> None:
    middle = five_steps.medians({"hamgr": took(1.0, control_s=0.5), "clush": took(1.0, control_s=2.0)})
    assert fan_out.control_ratio(WARM, middle).startswith("clush takes 4.0 times")


def test_without_peers_there_is_nothing_to_judge() -> None:
    alone = found({"login": 0.5, "hamgr": 1.0}, {"hamgr": 1.0})
    assert fan_out.goals((COLD, WARM), alone) == []
    assert "goals" not in fan_out.table(alone, 10, (COLD, WARM))


def test_peers_are_told_to_log_in_as_hamgr_does_and_share_connections_only_when_warm(tmp_path: Path) -> None:
    nodes = tuple(
        Endpoint(name=f"node-00{n}", port=2200 + n, host_key="ssh-ed25519 x", root=tmp_path) for n in (1, 2)
    )
    clush = peers.Clush.__new__(peers.Clush)  # without an account: nothing is started here
    clush.directory = tmp_path
    clush.fleet = Fleet(nodes=nodes, key=tmp_path / "key", account=None)  # type: ignore[arg-type]  # not asked
    cold, warm = (clush.ssh_config(f"{kept}", keep=kept).read_text() for kept in (False, True))
    assert "Host node-001\n  Port 2201\nHost node-002\n  Port 2202\n" in cold
    assert f"IdentityFile {tmp_path}/key" in cold
    assert "KexAlgorithms curve25519-sha256" in cold
    assert "Control" not in cold
    assert "ControlMaster auto" in warm

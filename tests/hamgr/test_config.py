"""The daemon's configuration: what is wrong is named with its file and key, and nothing insecure passes."""

import json
from pathlib import Path
from typing import Any

import pytest

from hamgr import config
from hamgr.config import ConfigError
from hamgr.raft.settings import Timers

ID = "4f0c5c3e-7d7b-4f0e-9d0e-0d8d9a3f1b02"


def settings(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "r1",
        "data_dir": "/var/lib/hamgr",
        "raft": "127.0.0.1:7001",
        "api": "127.0.0.1:7101",
        "tls": {"ca": "/etc/hamgr/ca.crt", "certificate": "/etc/hamgr/r1.crt", "key": "/etc/hamgr/r1.key"},
        "token_file": "/etc/hamgr/token",
        "peers": {"r2": {"id": ID, "raft": "10.0.0.2:7001", "api": "[::1]:7102"}},
        "ssh": {"keys": ["/etc/hamgr/id_ed25519"]},
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def write(directory: Path, text: str) -> Path:
    path = directory / "hamgrd.yaml"
    path.write_text(text)
    return path


def test_a_good_configuration_is_read(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, json.dumps(settings())))
    assert (found.name, found.peers["r2"].api, found.ssh.unreachable_deadline_s) == ("r1", "[::1]:7102", 60.0)


def test_the_sample_that_is_shipped_is_a_good_one() -> None:
    found = config.load(Path(__file__).parents[2] / "deploy" / "hamgrd.example.yaml")
    assert sorted(found.others) == ["r2", "r3"]


def test_timers_that_are_not_named_have_their_defaults(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, json.dumps(settings(timers={"election_s_max": 1.0}))))
    assert found.timers.timers() == Timers(election_s_max=1.0)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"raft": "0.0.0.0:7001"}, ["raft", "0.0.0.0:7001", "could reach"]),
        ({"raft": "r1.example:7001"}, ["raft", "ADDRESS:PORT"]),
        ({"raft": "::1:7001"}, ["raft", "brackets"]),
        ({"api": "10.0.0.1:7101"}, ["api", "not a loopback address", "https://10.0.0.1:7101"]),
        ({"api": "127.0.0.1"}, ["api", "ADDRESS:PORT"]),
        ({"api": "127.0.0.1:70000"}, ["api", "ADDRESS:PORT"]),
        (
            {"peers": {"r2": {"id": ID, "raft": "192.168.0.2:0", "api": "127.0.0.1:2"}}},
            ["peers.r2.raft", "192.168.0.2:0"],
        ),
        ({"peers": {"r2": {"id": "2", "raft": "10.0.0.2:1", "api": "127.0.0.1:2"}}}, ["peers.r2.id"]),
        (
            {"peers": {"r2": {"id": ID, "raft": "127.0.0.1:7001", "api": "127.0.0.1:2"}}},
            ["r1 and r2 share 127.0.0.1:7001"],
        ),
        (
            {"peers": {"r1": {"id": ID, "raft": "127.0.0.1:7009", "api": "127.0.0.1:7101"}}},
            ["peers.r1 is this replica"],
        ),
        ({"tls": None}, ["tls"]),
        ({"timers": {"heartbeat_s": 0.1}}, ["timers", "election_s_min", "3 times heartbeat_s"]),
        ({"timers": {"quorum_lost_s": 0.1}}, ["timers", "quorum_lost_s"]),
        ({"timers": {"election_s_max": 0.2}}, ["timers", "election_s_max"]),
        ({"timers": {"tick_s": 0.2}}, ["timers.tick_s", "not permitted"]),
        ({"name": "R 1"}, ["name"]),
        ({"ssh": None}, ["ssh"]),
        ({"sssh": {}}, ["sssh", "not permitted"]),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, changes: dict[str, Any], names: list[str]
) -> None:
    path = write(tmp_path, json.dumps(settings(**changes)))
    with pytest.raises(ConfigError) as error:
        config.load(path)
    assert str(path) in str(error.value)
    assert all(name in str(error.value) for name in names), str(error.value)


def test_broken_yaml_is_named_with_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, "name: r1\nraft: [\n")
    with pytest.raises(ConfigError, match=rf"{path}:3:1: not YAML"):
        config.load(path)


def test_a_missing_file_and_a_huge_one_are_one_sentence_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="larger than"):
        config.load(write(tmp_path, "#" * (config.CONFIG_BYTES_MAX + 1)))


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [("x" * 40, 0o644, "chmod 600"), ("short", 0o600, "at least 32"), (None, 0o600, "cannot be read")],
)
def test_a_secret_that_others_know_or_can_guess_is_refused(
    tmp_path: Path, text: str | None, mode: int, says: str
) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=says) as error:
        config.secret(path)
    assert text is None or text not in str(error.value)

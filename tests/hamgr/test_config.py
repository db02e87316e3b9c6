"""The daemon's configuration: what is wrong is named with its file and key, and nothing insecure passes."""

import json
from pathlib import Path
from typing import Any

import pytest

from hamgr import config
from hamgr.config import ConfigError


def settings(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "r1",
        "data_dir": "/var/lib/hamgr",
        "raft": "127.0.0.1:7001",
        "api": "127.0.0.1:7101",
        "password_file": "/etc/hamgr/password",
        "token_file": "/etc/hamgr/token",
        "peers": {"r2": {"raft": "127.0.0.1:7002", "api": "[::1]:7102"}},
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
    assert sorted(found.peers) == ["r2", "r3"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"raft": "10.0.0.1:7001"}, ["raft", "10.0.0.1:7001", "not a loopback address"]),
        ({"api": "0.0.0.0:7101"}, ["api", "not a loopback address"]),
        ({"api": "127.0.0.1"}, ["api", "ADDRESS:PORT"]),
        ({"api": "127.0.0.1:70000"}, ["api", "ADDRESS:PORT"]),
        (
            {"peers": {"r2": {"raft": "192.168.0.2:1", "api": "127.0.0.1:2"}}},
            ["peers.r2.raft", "192.168.0.2:1"],
        ),
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

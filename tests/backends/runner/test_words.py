"""Words that a node refuses, facts that it gives, and how the script gets there."""

import subprocess
from pathlib import Path

import pytest

from backends.ports import SCRIPT_BYTES_MAX
from backends.runner import answers, script
from tests.backends.runner.node import Node, key, run_call

DIGEST = "0" * 64
ODD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a b",
    "a;b",
    "$(id)",
    "`id`",
    "-rf",
    "A",
    "ä",
    "a\nb",
    "x" * 65,
    "*",
    "_a",
]
ODD_NUMBERS = ["", "-1", "1e3", "0x10", "007", "1 2", "9" * 30, "a", "1;id"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["unknown"],
        ["supervise"],
        ["supervise", "1", "2", "3"],
        ["fence", "1"],
        ["fence", "1", "j", "more"],
        ["status", "1", "j", "s"],
        ["run", "1", "j", "s", "1"],
        ["run", "1", "j", "s", "1", "1", "1", "4", "short"],
        ["run", "1", "j", "s", "1", "1", "1", "4", DIGEST[:-1] + "G"],
        ["facts", "more"],
        *(["fence", "1", name] for name in ODD_NAMES),
        *(["status", "1", "j", name, "1"] for name in ODD_NAMES),
        *(["fence", number, "j"] for number in ODD_NUMBERS),
        *(["kill", "1", "j", "s", number] for number in ODD_NUMBERS),
        *(
            ["run", "1", "j", "s", "1", wait, "1", "4", DIGEST]
            for wait in ("", ".", "-1", "1.2.3", "1s", "inf")
        ),
        *(["run", "1", "j", "s", "1", "1", number, "4", DIGEST] for number in ODD_NUMBERS),
        *(["run", "1", "j", "s", "1", "1", "1", number, DIGEST] for number in ODD_NUMBERS),
        *(["log", "j", "s", "1", number, "10"] for number in ODD_NUMBERS),
        *(["follow", "j", "s", "1", number] for number in ODD_NUMBERS),
    ],
    ids=repr,
)
def test_an_odd_word_is_refused_with_a_sentence_and_nothing_changes(
    quick_node: Node, words: list[str]
) -> None:
    before = quick_node.files()
    status, stdout, stderr = quick_node.call(words, b"true")
    assert status == 64
    assert stdout == b"hamgr-runner 1 reason=usage\n"
    assert stderr.startswith(b"hamgr-runner: ")
    assert quick_node.files() == before


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_refused_before_it_is_sent(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        script.fence_words(1, name)
    with pytest.raises(ValueError, match="not a name"):
        script.status_words(1, key(step=name))


@pytest.mark.parametrize("number", [-1, 10**18, 10**40])
def test_an_epoch_out_of_bounds_is_refused_before_it_is_sent(number: int) -> None:
    with pytest.raises(ValueError, match="is not between"):
        script.fence_words(number, "j")


def test_a_script_that_is_too_large_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="more than"):
        script.run_words(1, key(), b"#" * (SCRIPT_BYTES_MAX + 1), wait_s=0, output_bytes_max=0)


def test_a_relative_root_is_refused(quick_node: Node) -> None:
    for words in (["facts"], run_call(1, key(), "true")[0]):
        status, _, stderr = quick_node.call(words, b"true", HAMGR_ROOT="relative")
        assert (status, b"absolute" in stderr) == (64, True)


@pytest.mark.parametrize("wait_s", [0, 0.0004, 0.05, 0.008, 1.25, 7, 1e12, -3])
def test_every_wait_becomes_a_word_that_the_node_takes(quick_node: Node, wait_s: float) -> None:
    assert quick_node.run(1, key(), "exit 3", wait_s=wait_s).exit_code in {3, None}


def write_identity(node: Node) -> None:
    (node.root / "etc").mkdir()
    (node.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (node.root / "etc/hostname").write_text("n1\n")
    (node.root / "etc/os-release").write_text('NAME="X"\nPRETTY_NAME="Some Linux 1 (one)"\nPRETTY_NAMES=no\n')


def test_facts_say_who_a_machine_is_and_create_nothing(node: Node) -> None:
    write_identity(node)
    before = node.files()
    done = subprocess.run(
        [*node.shell, "-s", "facts"],
        input=script.TEXT,
        capture_output=True,
        env=node.environment,
        check=False,
    )
    report = answers.parse_facts("n1", done.stdout, done.returncode, host_key="ssh-ed25519 AAAA")
    assert (report.machine_id, report.hostname) == ("0123456789abcdef0123456789abcdef", "n1")
    assert (report.epoch, report.host_key) == (0, "ssh-ed25519 AAAA")
    assert report.facts["os"] == "Some Linux 1 (one)"
    assert report.facts["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert isinstance(report.facts["cpus"], int)
    assert report.facts["cpus"] >= 1
    assert isinstance(report.facts["memory_mb"], int)
    assert report.facts["memory_mb"] > 1
    assert report.facts["kernel"]
    assert report.facts["arch"]
    assert report.facts["systemd"] is False
    assert "missing" not in report.facts
    assert node.files() == before
    assert done.stderr == b""


def test_facts_tell_the_epoch_that_the_node_has_seen(quick_node: Node) -> None:
    write_identity(quick_node)
    quick_node.fence(41)
    status, stdout, _ = quick_node.call(["facts"])
    assert answers.parse_facts("n1", stdout, status, host_key="").epoch == 41


def install(node: Node, text: bytes) -> tuple[int, bytes]:
    done = subprocess.run(
        [*node.shell, "-c", script.install_command_line()],
        input=text,
        capture_output=True,
        env=node.environment,
        check=False,
    )
    return done.returncode, done.stdout


def call_installed(node: Node, words: list[str], stdin: bytes = b"") -> tuple[int, bytes]:
    done = subprocess.run(
        [*node.shell, "-c", script.command_line(words)],
        input=stdin,
        capture_output=True,
        env=node.environment,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_node_without_the_script_says_so_and_runs_everything_once_it_is_installed(node: Node) -> None:
    words, body = run_call(1, key(), "exit 7")
    status, stdout = call_installed(node, words, body)
    assert answers.is_not_installed(stdout, status)
    for _ in range(2):
        status, stdout = install(node, script.TEXT)
        answers.parse_installed("node", stdout, status)
    status, stdout = call_installed(node, words, body)
    assert answers.parse_status("node", stdout, status).exit_code == 7
    assert oct(node.state.stat().st_mode & 0o777) == "0o700"
    assert [path.name for path in node.state.glob("*runner*")] == [f"runner-{script.VERSION}"]


def test_a_script_that_was_cut_on_its_way_is_not_installed(node: Node) -> None:
    status, stdout = install(node, script.TEXT[:-1])
    assert status == 74
    with pytest.raises(Exception, match="upload damaged"):
        answers.parse_installed("node", stdout, status)
    assert list(node.state.iterdir()) == []


def test_folders_that_the_runner_makes_are_private_and_those_above_are_not(node: Node) -> None:
    node.run(1, key(), "true")
    assert node.state.stat().st_mode & 0o777 == 0o700
    assert (node.state / "jobs/j").stat().st_mode & 0o777 == 0o700
    assert (node.root / "var/lib").stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o077 == 0 for path in node.state.rglob("*") if path.is_file())


def test_a_finished_script_is_not_kept_for_it_may_hold_secrets(node: Node) -> None:
    node.run(1, key(), "true # canary-1234")
    assert not any(b"canary-1234" in data for data in node.files().values())

"""Strategies on the command line: from flags, from a file, and both; and what is refused before anything."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.exits import CliError, Exit
from cli.rollouts import moment, window
from tests.cli.conftest import Cli, Replicas

FLAGS = {
    "--canary": "1",
    "--promote": "manual",
    "--max-parallel": "50%",
    "--max-failed": "10%",
    "--domain": "rack",
    "--min-healthy": "60s",
    "--healthy-deadline": "5m",
    "--progress-deadline": "30m",
    "--on-failure": "pause",
    "--priority": "-3",
    "--window": "0 22 * * sat for 4h in Europe/Madrid",
    "--start-at": "2023-11-16T00:00Z",
}


@pytest.fixture
def ready(live: Cli, bundle: Path) -> Cli:
    """The command with nodes w1 to w3 and a bundle for them."""
    assert live("config", "push", str(bundle)).code == 0
    return live


def commission(cli: Cli, *more: str) -> Any:
    return cli("node", "commission", "--all", "--role", "web", "--detach", *more)


def shown(cli: Cli, job: str) -> Any:
    return json.loads(cli("job", "show", job, "-o", "json").out)


def test_every_flag_of_a_strategy_arrives(ready: Cli) -> None:
    made = commission(ready, *(word for pair in FLAGS.items() for word in pair), "--below-minimum")
    assert made.code == 0, made.err
    job = shown(ready, made.out.strip())
    assert job["rollout"] == {
        "name": None,
        "canary": 1,
        "promotion": "manual",
        "max_parallel": "50%",
        "max_failed": "10%",
        "domain": "rack",
        "min_healthy": 60,
        "healthy_deadline": 300,
        "progress_deadline": 1800,
        "on_failure": "pause",
        "below_minimum": True,
        "windows": [{"cron": "0 22 * * sat", "duration": 14_400, "zone": "Europe/Madrid"}],
        "start_at": 1_700_092_800,
    }
    assert job["priority"] == -3
    text = ready("job", "show", job["id"]).out
    assert "domain: rack" in text
    assert "kind=window" in text
    row = ready("job", "ls").out.splitlines()[1].split()
    assert row[:5] == [job["id"], "commission", "scheduled+window", "0/3", "1/3"]


def test_a_file_gives_a_strategy_and_flags_go_before_it_one_by_one(ready: Cli, tmp_path: Path) -> None:
    file = tmp_path / "careful.yaml"
    file.write_text(
        "canary: 2\npromotion: manual\nmax_parallel: 25%\nmax_failed: 2\nmin_healthy: 1m\n"
        "start_at: 2023-11-16T01:00:00+01:00\n"
        "windows:\n  - '* 1 * * * for 10m'\n  - {cron: 0 2 * * *, duration: 3600}\n"
    )
    made = commission(ready, "--rollout", str(file), "--canary", "1", "--max-parallel", "2")
    job = shown(ready, made.out.strip())
    assert (job["rollout"]["canary"], job["rollout"]["promotion"]) == (1, "manual")
    assert (job["max_parallel"], job["rollout"]["max_parallel"], job["max_failed"]) == (2, None, 2)
    assert job["rollout"]["start_at"] == 1_700_092_800
    assert [(w["cron"], w["duration"], w["zone"]) for w in job["rollout"]["windows"]] == [
        ("* 1 * * *", 600, "UTC"),
        ("0 2 * * *", 3600, "UTC"),
    ]


def test_a_strategy_is_read_from_the_input_too(ready: Cli) -> None:
    args = ("node", "commission", "w1", "--role", "web", "--detach", "--rollout", "-")
    with ready.start(*args, stdin=subprocess.PIPE) as process:
        out, err = process.communicate("min_healthy: 90s\n", timeout=20)
    assert process.returncode == 0, err
    assert shown(ready, out.strip())["rollout"]["min_healthy"] == 90


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("canary: [", "not YAML"),
        ("windows: [* * * * * for 1h]", "quote what begins with '*'"),
        ("- canary", "not a strategy"),
        ("1: 2", "not a strategy"),
        ("", "not a strategy"),
        ("a: " + "x" * 70_000, "not a strategy"),
        ("windows: [sometimes]", "'sometimes' is not a change window"),
        ("canari: 1", "did you mean 'canary'?"),
        ("max_parallel: fast", "/rollout/max_parallel"),
        ("start_at: 2023-11-16 01:00:00", "in which time zone"),
        ("start_at: 2023-11-16", "in which time zone"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused_and_nothing_begins(
    ready: Cli, replicas: Replicas, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    ran = commission(ready, "--rollout", str(file))
    assert (ran.code, says in ran.err) == (2, True), ran.err
    assert not replicas.cluster.state.running


def test_a_file_that_is_not_there_is_named(ready: Cli) -> None:
    ran = commission(ready, "--rollout", "/does/not/exist.yaml")
    assert (ran.code, "/does/not/exist.yaml: cannot be read" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--canary", "9", "--max-failed", "200%"), ("9 canaries", "200 %")),
        (("--promote", "manual"), ("no canary",)),
        (("--max-parallel", "0"), ("from 1",)),
        (("--max-parallel", "many"), ("a share like 25%",)),
        (("--window", "0 99 * * * for 1h"), ("0 99 * * *",)),
        (("--window", "0 9 * * *"), ("CRON for TIME",)),
        (("--start-at", "noon"), ("+2h",)),
        (("--start-at", "2001-01-01T00:00Z"), ("has passed",)),
        (("--min-healthy", "long"), ("a time like '90s'",)),
        (("--priority", "101"), ("101",)),
    ],
    ids=" ".join,
)
def test_a_strategy_that_cannot_be_is_code_2_and_nothing_begins(
    ready: Cli, replicas: Replicas, args: tuple[str, ...], says: tuple[str, ...]
) -> None:
    ran = commission(ready, *args)
    assert ran.code == 2, ran.err
    assert all(text in ran.err for text in says), ran.err
    assert not replicas.cluster.state.running


@pytest.mark.parametrize(
    "text", ["", "for", "0 1 * * for 1h", "0 1 * * * * for 1h", "0 1 * * * for", "0 1 * * * for 1h in"]
)
def test_what_is_not_a_window_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(CliError) as refused:
        window(text)
    assert refused.value.code is Exit.USAGE
    assert "Europe/Madrid" in refused.value.hint


def test_a_moment_without_a_zone_is_local_and_one_from_now_is_counted() -> None:
    assert moment("2026-11-30T22:00Z") == "2026-11-30T22:00:00+00:00"
    assert str(moment("2026-11-30 22:00")).startswith("2026-11-30T22:00:00")
    assert len(str(moment("2026-11-30 22:00"))) == len("2026-11-30T22:00:00+00:00")
    assert float(moment("+2h")) - float(moment("+1h")) == pytest.approx(3600, abs=60)


def test_a_dry_run_marks_the_canaries(ready: Cli) -> None:
    ran = ready("node", "commission", "--all", "--role", "web", "--dry-run", "--canary", "1")
    assert "wave 1 (canary): w1" in ran.out
    assert "wave 2: w2, w3" in ran.out


NAMED = """\
rollouts:
  careful: {canary: 1, promotion: manual, max_parallel: 2, on_failure: pause}
  quick: {max_parallel: 100%}
default_rollouts: {commission: quick}
"""


@pytest.fixture
def named(live: Cli, bundle: Path) -> Cli:
    """The same, and two strategies in the bundle."""
    file = bundle / "hamgr.yaml"
    file.write_text(file.read_text() + NAMED)
    assert live("config", "push", str(bundle)).code == 0
    return live


def test_a_strategy_of_the_bundle_is_chosen_by_its_name_and_flags_go_before_it(named: Cli) -> None:
    dry = named("node", "commission", "--all", "--role", "web", "--rollout", "careful", "--dry-run")
    assert "rollout: careful" in dry.out, dry.out
    made = commission(named, "--rollout", "careful", "--on-failure", "stop", "--max-parallel", "1")
    job = shown(named, made.out.strip())
    assert (job["rollout"]["name"], job["rollout"]["canary"]) == ("careful", 1)
    assert (job["rollout"]["on_failure"], job["max_parallel"]) == ("stop", 1)
    assert "name: careful" in named("job", "show", job["id"]).out


def test_a_job_that_names_none_has_the_bundles_default_and_none_is_none(named: Cli) -> None:
    dry = json.loads(named("node", "commission", "--all", "--role", "web", "--dry-run", "-o", "json").out)
    assert (dry["rollout"], dry["max_parallel"]) == ("quick", 3)
    made = commission(named, "--rollout", "none")
    assert shown(named, made.out.strip())["rollout"]["name"] is None


def test_a_name_that_the_bundle_has_not_is_refused_and_says_which_there_are(named: Cli) -> None:
    refused = commission(named, "--rollout", "carefull")
    assert (refused.code, "take one of: careful, quick" in refused.err) == (2, True), refused.err
    assert commission(named, "--rollout", "./carefull").code == 2

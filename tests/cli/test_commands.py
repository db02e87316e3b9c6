"""What operators type, and what they get: data on standard output, the rest on standard error."""

import json
from pathlib import Path

import pytest
import yaml

from statemachine.commands import CancelJob
from statemachine.discovery_commands import ReportSilence
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api import fakes, rig


def test_nodes_are_listed_in_every_format(live: Cli) -> None:
    table = live("node", "ls")
    assert table.code == 0
    assert table.out.splitlines()[0].split() == [
        "NAME",
        "STATUS",
        "PRESENCE",
        "HEALTH",
        "ROLE",
        "JOB",
        "NOTE",
    ]
    assert [line.split()[:2] for line in table.out.splitlines()[1:]] == [
        [f"w{i}", "discovered"] for i in (1, 2, 3)
    ]
    assert "ADDRESS" in live("node", "ls", "-o", "wide").out
    assert live("node", "ls", "-o", "name", "-l", "name=w2").out == "w2\n"
    assert [item["name"] for item in json.loads(live("-o", "json", "nodes", "list").out)] == [
        "w1",
        "w2",
        "w3",
    ]
    assert yaml.safe_load(live("node", "show", "w1", "-o", "yaml").out)["facts"]["os"] == "Debian"


def test_a_table_on_a_pipe_is_never_cut(live: Cli) -> None:
    live("node", "edit", "w1", *(f"--label=k{i}={'v' * 60}" for i in range(6)))
    ran = live("node", "ls", "-o", "wide")
    assert "k5=" + "v" * 60 in ran.out
    assert len(ran.out.splitlines()) == 4


def test_a_node_is_added_edited_and_shown(live: Cli, replicas: Replicas) -> None:
    assert live("node", "add", "web-7", "10.0.0.17", "--port", "2222", "--label", "rack=r1").code == 0
    assert (
        live("node", "edit", "web-7", "--set", "http.port=8081", "--set", "motd=hi", "--unlabel", "rack").code
        == 0
    )
    node = replicas.cluster.state.nodes["web-7"]
    assert (node.endpoint.port, dict(node.labels)) == (2222, {})
    assert node.variables == {"http": {"port": 8081}, "motd": "hi"}
    stale = live("node", "edit", "web-7", "--label", "a=b", "--if-match", "1")
    assert stale.code == 4
    shown = live("node", "vars", "web-7", "--origin")
    assert "http.port" in shown.out
    assert "node" in shown.out


def test_a_bundle_is_pushed_listed_shown_and_exported(live: Cli, bundle: Path, tmp_path: Path) -> None:
    (bundle / ".git").mkdir()
    (bundle / ".git" / "HEAD").write_text("ref")
    pushed = live("config", "push", str(bundle), "-m", "first one")
    assert pushed.code == 0, pushed.err
    digest = pushed.out.strip()
    assert digest.startswith("sha256:")
    assert "first one" in live("config", "ls").out
    assert "commission: page" in live("config", "show", digest[7:13]).out
    copy = tmp_path / "copy"
    assert live("config", "export", "current", str(copy)).code == 0
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert names == set(rig.BUNDLE)
    assert (copy / "hamgr.yaml").read_text() == rig.BUNDLE["hamgr.yaml"]
    again = live("config", "export", "current", str(copy))
    assert (again.code, "not empty" in again.err) == (2, True)


def test_a_bundles_problems_are_told_with_places_that_editors_understand(
    live: Cli, bundle: Path, replicas: Replicas
) -> None:
    (bundle / "hamgr.yaml").write_text("version: 1\nroels: {}\n")
    ran = live("config", "push", str(bundle))
    assert (ran.code, ran.out) == (1, "")
    assert f"{bundle}/hamgr.yaml:2:1: " in ran.err
    (bundle / "link").symlink_to("/etc/passwd")
    ran = live("config", "push", str(bundle))
    assert ran.code == 1
    assert f"{bundle}/link:1:1: is a symbolic link" in ran.err
    assert not replicas.cluster.state.bundles


def test_a_dry_run_shows_the_plan_and_its_exit_code_tells_of_changes(
    live: Cli, bundle: Path, replicas: Replicas
) -> None:
    live("config", "push", str(bundle))
    before = replicas.cluster.state
    wanted = ("node", "commission", "--all", "--role", "web", "--max-parallel", "2", "--dry-run")
    ran = live(*wanted)
    assert ran.code == 0
    assert "would commission 3 nodes" in ran.out
    assert "wave 2: w3" in ran.out
    assert "web: page" in ran.out
    assert live(*wanted, "--exit-code").code == 10
    assert live("discover", "10.0.0.0/30", "--dry-run", "--exit-code").code == 10
    assert replicas.cluster.state is before


def test_a_detached_job_is_shown_listed_and_cancelled(live: Cli, bundle: Path, replicas: Replicas) -> None:
    live("config", "push", str(bundle))
    made = live("node", "commission", "w1", "--role", "web", "--detach", "--reason", "test run")
    assert (made.code, made.out) == (0, "j-4\n")
    assert "hamgr job watch j-4" in made.err
    assert "test run" in live("job", "ls").out
    assert json.loads(live("job", "show", "4", "-o", "json").out)["kind"] == "commission"
    refused = live("job", "cancel", "j-4")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert replicas.cluster.state.running == ("j-4",)
    assert "1 not begun" in refused.err
    assert live("job", "cancel", "j-4", "--yes").code == 0
    assert replicas.cluster.state.running == ()


def test_watching_tells_each_change_once_and_ends_as_the_job_does(live: Cli, replicas: Replicas) -> None:
    def silent(address: str, *, silent: bool) -> None:
        replicas.cluster.apply(
            ReportSilence(
                request_id=rig.rid(),
                at=rig.NOW,
                actor="t",
                job="j-4",
                task=address,
                error="is off",
                silent=silent,
            )
        )

    with live.start("discover", "10.0.0.1", "w1.test") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "j-4  discover of 2\n"
        replicas.on_loop(lambda: silent("10.0.0.1:22", silent=False))
        assert "failed  10.0.0.1:22  is off" in process.stderr.readline()
        replicas.on_loop(rig.sight_in, replicas.cluster, "j-4", "w1")
        out, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert "partly  j-4 discover: 1 of 2" in out
    assert "succeeded  w1.test:22" in err


@pytest.mark.parametrize(("reported", "code"), [("cancel", 1), ("silence", 1)])
def test_a_job_that_did_not_succeed_is_a_failure_of_the_command(
    live: Cli, replicas: Replicas, reported: str, code: int
) -> None:
    live("discover", "10.0.0.1", "--detach")
    common = {"request_id": rig.rid(), "at": rig.NOW, "actor": "t", "job": "j-4"}
    if reported == "cancel":
        command = CancelJob(**common)
    else:
        command = ReportSilence(**common, task="10.0.0.1:22", error="is off", silent=False)
    replicas.on_loop(replicas.cluster.apply, command)
    assert live("job", "wait", "j-4").code == code
    assert live("job", "watch", "4").code == code


def test_waiting_ends_with_its_own_code_when_the_time_is_over(live: Cli) -> None:
    live("discover", "10.0.0.1", "--detach")
    ran = live("job", "wait", "j-4", "--for", "0.2")
    assert (ran.code, ran.out) == (7, "")
    assert "it goes on" in ran.err


def test_globals_are_set_shown_and_unset(live: Cli) -> None:
    assert live("globals", "set", "a.b=1", "c=text").code == 0
    assert json.loads(live("globals", "show", "-o", "json").out) == {"a": {"b": 1}, "c": "text"}
    assert live("globals", "unset", "a.b").code == 0
    assert json.loads(live("globals", "show", "-o", "json").out) == {"a": {}, "c": "text"}


def test_a_log_is_printed_line_by_line(live: Cli, replicas: Replicas) -> None:
    live("discover", "10.0.0.1", "10.0.0.2", "--detach")
    replicas.servers["r1"].logs.lines = [
        fakes.Line("10.0.0.1:22", "s", 1, 0, b"one\ntw"),
        fakes.Line("10.0.0.2:22", "s", 1, 0, b"other\n"),
        fakes.Line("10.0.0.1:22", "s", 1, 6, b"o\nrest"),
        fakes.Line("10.0.0.1:22", "s", 1, 0, b"one\ntw"),
    ]
    ran = live("job", "log", "j-4")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "10.0.0.1:22 s | one",
        "10.0.0.2:22 s | other",
        "10.0.0.1:22 s | two",
        "10.0.0.1:22 s | rest",
    ]
    assert live("job", "log", "j-4", "--node", "10.0.0.2:22").out == "10.0.0.2:22 s | other\n"


def test_a_log_is_narrowed_to_a_step_an_attempt_or_its_last_lines(live: Cli, replicas: Replicas) -> None:
    live("discover", "10.0.0.1", "10.0.0.2", "--detach")
    replicas.servers["r1"].logs.lines = [
        fakes.Line("10.0.0.1:22", "work.00.app.copy", 1, 0, b"first\n"),
        fakes.Line("10.0.0.1:22", "work.00.app.copy", 2, 0, b"1\n2\n3\n"),
        fakes.Line("10.0.0.2:22", "work.01.app.start", 1, 0, b"up\n"),
    ]
    assert live("job", "log", "j-4", "--step", "start").out == "10.0.0.2:22 work.01.app.start | up\n"
    assert live("job", "log", "j-4", "--step", "art").out == ""
    second = live("job", "log", "j-4", "--attempt", "2", "--tail", "1").out
    assert second == "10.0.0.1:22 work.00.app.copy | 3\n"
    assert live("job", "log", "j-4", "--tail", "1").out.count("\n") == 2
    refused = live("job", "log", "j-4", "--tail", "1", "-f")
    assert (refused.code, refused.out) == (2, "")


def test_a_log_that_is_cut_differently_by_another_server_is_printed_once_and_exactly(
    live: Cli, replicas: Replicas
) -> None:
    live("discover", "10.0.0.1", "--detach")
    text = "h\u00e9llo\nw\u00f6rld\n".encode()
    replicas.servers["r1"].logs.lines = [
        fakes.Line("10.0.0.1:22", "s", 1, 0, text[:2]),  # in the middle of a character
        fakes.Line("10.0.0.1:22", "s", 1, 2, text[2:9]),
        fakes.Line("10.0.0.1:22", "s", 1, 0, text[:5]),
        fakes.Line("10.0.0.1:22", "s", 1, 5, text[5:]),
    ]
    assert live("job", "log", "j-4").out.splitlines() == [
        "10.0.0.1:22 s | h\u00e9llo",
        "10.0.0.1:22 s | w\u00f6rld",
    ]
    objects = [json.loads(line) for line in live("job", "log", "j-4", "-o", "json").out.splitlines()]
    assert [(o["offset"], o["bytes"]) for o in objects] == [(0, 2), (2, 7), (9, 5)]
    assert objects[2]["data"] == text[9:].decode("utf-8", "replace")


def test_what_is_left_out_of_a_log_is_a_line_of_its_own(live: Cli, replicas: Replicas) -> None:
    live("discover", "10.0.0.1", "--detach")
    replicas.servers["r1"].logs.lines = [
        fakes.Line("10.0.0.1:22", "s", 1, 0, b"head"),
        fakes.Line("10.0.0.1:22", "s", 1, 4, b"", "left out", skipped_bytes=96),
        fakes.Line("10.0.0.1:22", "s", 1, 100, b"tail\n"),
    ]
    assert [line.partition(" | ")[2] for line in live("job", "log", "j-4").out.splitlines()] == [
        "head",
        "[96 bytes are left out here]",
        "tail",
    ]


def test_events_are_listed_and_watched(live: Cli, replicas: Replicas) -> None:
    assert "new -> discovered" in live("events").out
    assert live("events", "--since", "1s").out.splitlines()[1:] == []
    with live.start("events", "-w", "-o", "json", "--since", "3.0") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["cursor"] == "3.1"
        live("globals", "set", "a=1")
        for line in process.stdout:
            if json.loads(line)["kind"] == "config.globals":
                break
        process.terminate()
        process.communicate(timeout=10)


def test_status_says_what_is_survived_and_what_needs_a_person(live: Cli, replicas: Replicas) -> None:
    ran = live("status")
    assert ran.code == 0
    assert "no further replica may be lost" in ran.out
    assert "hamgr config push DIR" in ran.out
    assert "DIGEST" in live("status", "-o", "wide").out
    replicas.cluster.leader = ""
    lost = live("status", "--timeout", "0.3")
    assert lost.code == 6
    assert "it may be old" in lost.err
    assert "no leader" in lost.out


def test_what_comes_over_the_network_cannot_steer_the_terminal(live: Cli, replicas: Replicas) -> None:
    replicas.on_loop(rig.sight, replicas.cluster, "w1", {"os": "\x1b[2Jevil\x07"})
    ran = live("node", "show", "w1")
    assert "evil" in ran.out
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out

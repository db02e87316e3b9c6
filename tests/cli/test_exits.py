"""Exit codes, errors and dangerous commands."""

import ast
import os
import pty
import signal
import subprocess
from pathlib import Path

import click
import pytest

import cli as package
from cli.exits import MEANING, OF_CODE, OF_JOB, OF_STATUS, Exit
from cli.main import root, run
from hamgr.api.problems import KINDS
from statemachine.words import JobState
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api import rig


def test_every_answer_and_every_end_of_a_job_has_an_exit_code() -> None:
    assert {kind.status for kind in KINDS.values()} <= set(OF_STATUS)
    assert set(OF_CODE) <= set(KINDS)
    assert set(OF_JOB) == {state.value for state in JobState if state is not JobState.RUNNING}
    assert set(MEANING) == set(Exit)
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 130]


def test_the_table_of_exit_codes_is_printed(cli: Cli) -> None:
    out = cli("help", "exit-codes").out
    assert [int(line.split()[0]) for line in out.splitlines()] == [int(code) for code in Exit]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("node", "show", "ghost"), 3, "no such node: ghost"),
        (("job", "show", "j-9"), 3, "no such job"),
        (("config", "show", "abc"), 3, "no such bundle"),
        (("node", "verify", "-l", "rack=r9"), 3, "no node matches"),
        (("node", "verify", "w1"), 4, "w1 is discovered"),
        (("node", "add", "w1", "10.0.0.1"), 4, "exists already"),
        (("node", "verify"), 2, "say which nodes"),
        (("node", "verify", "w1", "--all"), 2, "in one way"),
        (("node", "lss"), 2, "Did you mean 'ls'"),
        (("nod",), 2, "Did you mean 'node'"),
        (("node", "ls", "--bogus"), 2, "no such option"),
        (("node", "ls", "-l", "a b"), 2, "is not a selector term"),
        (("discover", "10.0.0.300"), 2, "10.0.0.300"),
        (("node", "maintenance", "on", "w1"), 2, "needs a reason"),
        (("node", "maintenance", "on", "w1", "--reason", "x", "--for", "2 weeks"), 2, "not a duration"),
        (("config", "push", "/does/not/exist"), 2, "not a directory"),
        (("node", "forget", "w1"), 2, "no terminal"),
        (("--server", "ftp://x", "status"), 2, "not the URL"),
        (("--context", "nope", "status"), 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_refusal_has_its_code_one_sentence_and_no_traceback(
    live: Cli, replicas: Replicas, args: tuple[str, ...], code: int, says: str
) -> None:
    before = replicas.cluster.state
    ran = live(*args)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    if code:
        assert says in ran.err
        assert [line for line in ran.err.splitlines() if line.startswith("hamgr: ")]
        assert ran.out == ""
    assert (replicas.cluster.state.nodes, replicas.cluster.state.jobs) == (before.nodes, before.jobs)


def test_a_wrong_token_is_code_5_and_an_unreadable_one_is_code_2(live: Cli, tmp_path: Path) -> None:
    live.env["HAMGR_TOKEN"] = "wrong"
    ran = live("node", "ls")
    assert (ran.code, "--token-file" in ran.err) == (5, True)
    del live.env["HAMGR_TOKEN"]
    assert live("node", "ls").code == 5
    live.env["HAMGR_TOKEN_FILE"] = str(tmp_path / "nothing")
    assert live("node", "ls").code == 2
    (tmp_path / "token").write_text(rig.TOKEN + "\n")
    assert live("--token-file", str(tmp_path / "token"), "node", "ls").code == 0


def test_a_context_names_servers_and_token(live: Cli, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(rig.TOKEN)
    file = tmp_path / "config" / "hamgr" / "config.yaml"
    file.parent.mkdir(parents=True)
    url = live.env.pop("HAMGR_ADDR")
    del live.env["HAMGR_TOKEN"]
    file.write_text(f"contexts:\n  here: {{servers: [{url}], token_file: {tmp_path}/token}}\n")
    assert live("--context", "here", "node", "ls").code == 0
    assert live("--context", "there", "node", "ls").code == 2
    live.env["HAMGR_CONTEXT"] = "here"
    assert live("node", "ls").code == 0
    file.write_text("a: [")
    assert live("node", "ls").code == 2


def test_no_server_is_code_6_with_the_way_out(cli: Cli) -> None:
    ran = cli("node", "ls", "--timeout", "0.5")
    assert ran.code == 6
    assert "http://127.0.0.1:1: connection refused" in ran.err
    assert "--server" in ran.err


@pytest.mark.parametrize(("fault", "code"), [("unknown-before", 7), ("not-committed", 6), ("bug", 1)])
def test_what_the_cluster_cannot_answer_has_its_own_codes(
    live: Cli, replicas: Replicas, fault: str, code: int
) -> None:
    replicas.servers["r1"].replica.fault = fault
    ran = live("globals", "set", "a=1", "--timeout", "0.5")
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert replicas.cluster.state.globals == {}


def test_ctrl_c_detaches_and_the_job_goes_on(live: Cli, replicas: Replicas) -> None:
    with live.start("discover", "10.0.0.1", start_new_session=True) as process:
        assert process.stderr is not None
        assert "j-4" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "hamgr job watch j-4" in err
    assert "Traceback" not in err
    assert replicas.cluster.state.running == ("j-4",)


def answer_on_terminal(live: Cli, text: str, *args: str) -> tuple[int, str]:
    """Run the command with a terminal as standard input, type `text`, and return code and errors."""
    ours, theirs = pty.openpty()
    try:
        with live.start(*args, stdin=theirs) as process:
            os.write(ours, text.encode())
            _, err = process.communicate(timeout=20)
            return process.returncode, err
    finally:
        os.close(ours)
        os.close(theirs)


def test_forgetting_asks_on_a_terminal_and_a_count_has_to_be_typed(live: Cli, replicas: Replicas) -> None:
    code, err = answer_on_terminal(live, "n\n", "node", "forget", "w1")
    assert (code, "nothing was done" in err) == (1, True)
    code, err = answer_on_terminal(live, "3\n", "node", "forget", "w1", "w2")
    assert (code, "Type 2" in err) == (1, True)
    assert set(replicas.cluster.state.nodes) == {"w1", "w2", "w3"}
    code, _ = answer_on_terminal(live, "2\n", "node", "forget", "w1", "w2")
    assert code == 0
    assert set(replicas.cluster.state.nodes) == {"w3"}


def test_a_reader_that_has_seen_enough_is_no_error(live: Cli) -> None:
    with live.start("node", "ls", "-o", "json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(10) == 0
    assert err == ""


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    checked = 0

    def look(command: click.Command, *path: str) -> None:
        nonlocal checked
        with click.Context(command) as context:
            if isinstance(command, click.Group):
                assert run([*path, "--help"]) == 0
                listed = capsys.readouterr().out.partition("Commands:")[2]
                assert not path or "...\n" not in listed, path
                for name in command.list_commands(context):
                    if name != "demo":  # a story of its own, tested where it lives
                        found = command.get_command(context, name)
                        assert found is not None
                        look(found, *path, name)
                return
        assert run([*path, "--help"]) == 0
        assert "Examples:" in capsys.readouterr().out, path
        checked += 1

    look(root)
    assert checked >= 28


def test_help_version_and_completion_import_nothing_heavy(cli: Cli) -> None:
    code = (
        "import sys; from cli.main import run; run(sys.argv[1:]); print(list(sys.modules), file=sys.stderr)"
    )
    heavy = {"aiohttp", "rich", "yaml", "asyncio", "ssl", "http.client", "pydantic", "hamgr", "statemachine"}
    for args in (["--help"], ["--version"], ["node", "--help"], ["job", "--help"], ["job", "ls", "--help"]):
        command = [os.sys.executable, "-c", code, *args]
        ran = subprocess.run(command, env=cli.environment(), capture_output=True, text=True, check=True)
        loaded = set(ast.literal_eval(ran.stderr.splitlines()[-1]))
        assert not heavy & loaded, args


def test_the_command_imports_none_of_the_other_rooms() -> None:
    root = Path(package.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            rooms = {name.partition(".")[0] for name in names}
            assert not rooms & {"hamgr", "statemachine", "backends"}, path


def test_names_are_completed_from_a_cache_that_is_asked_again_after_seconds(
    live: Cli, replicas: Replicas
) -> None:
    live.env |= {"_HAMGR_COMPLETE": "bash_complete", "COMP_WORDS": "hamgr node show w", "COMP_CWORD": "3"}
    assert live().out.split() == ["plain,w1", "plain,w2", "plain,w3"]
    replicas.stop("r1")
    assert live().out.split() == ["plain,w1", "plain,w2", "plain,w3"]
    live.env["COMP_WORDS"] = "hamgr node sh"
    live.env["COMP_CWORD"] = "2"
    assert live().out.split() == ["plain,show"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion_script(cli: Cli, shell: str) -> None:
    ran = cli("completion", shell)
    assert ran.code == 0
    assert "_HAMGR_COMPLETE" in ran.out

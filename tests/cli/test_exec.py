"""`hamgr exec`, as people type it, and how names of many nodes are folded."""

import json

import pytest

from backends.ports import Look, TimedOut, Unreachable
from cli.folding import fold
from tests.cli.conftest import Cli, Replicas


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["db"], "db"),
        (["web-2", "web-1", "web-3", "db"], "db, web-[1-3]"),
        (["web-9", "web-10", "web-12"], "web-[9-10,12]"),
        (["w-08", "w-09", "w-10"], "w-[08-10]"),
        (["w-8", "w-08"], "w-08, w-8"),
        (["r1.example", "r2.example", "r2-n1.example"], "r2-n1.example, r[1-2].example"),
    ],
)
def test_names_fold_to_ranges(names: list[str], folded: str) -> None:
    assert fold(names) == folded


def test_equal_answers_are_shown_once_and_what_went_wrong_comes_last(live: Cli, replicas: Replicas) -> None:
    nodes = replicas.servers["r1"].nodes
    nodes.answers = {
        "w1": Look(exit_code=0, output=b"up\n"),
        "w2": Unreachable("w2", "no route to it"),
        "w3": Look(exit_code=0, output=b"up\n"),
    }
    ran = live("exec", "-l", "w*", "--", "uptime", "-p", "a b")
    assert ran.code == 8, ran.err
    assert ran.out.splitlines() == [
        "w[1,3] (2 nodes)",
        "  up",
        "w2: not run: no route to it",
        "3 nodes: 2 well, 1 not run",
    ]
    assert {script for _, script, _ in nodes.asked} == {b"uptime -p 'a b'\n"}


def test_one_word_is_a_line_for_the_shell(live: Cli, replicas: Replicas) -> None:
    ran = live("exec", "w1", "--", "df -h / | tail -1")
    assert ran.code == 0, ran.err
    assert replicas.servers["r1"].nodes.asked[-1][1] == b"df -h / | tail -1\n"


def test_an_unknown_end_is_called_unknown(live: Cli, replicas: Replicas) -> None:
    replicas.servers["r1"].nodes.answers = {"w1": TimedOut("w1", "did not answer")}
    ran = live("exec", "-l", "w*", "-o", "json", "--", "true")
    assert ran.code == 7
    assert {view["node"]: view["unknown"] for view in json.loads(ran.out)} == {
        "w1": True,
        "w2": False,
        "w3": False,
    }


def test_a_list_runs_nothing(live: Cli, replicas: Replicas) -> None:
    ran = live("exec", "-l", "w*", "--list", "--", "reboot")
    assert (ran.code, ran.out) == (0, "w1\nw2\nw3\n")
    assert not replicas.servers["r1"].nodes.asked


def test_a_selector_that_names_nobody_is_an_error_with_a_way_out(live: Cli) -> None:
    ran = live("exec", "-l", "nobody*", "--", "true")
    assert ran.code == 3
    assert "no node matches" in ran.err
    assert "hamgr node ls" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--", "true"), "on which nodes?"),
        (("w1", "--all", "--", "true"), "on which nodes?"),
        (("w1",), "write it after --"),
        (("w1", "--"), "write it after --"),
        (("w1", "--deadline", "soon", "--", "true"), "is not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anybody_is_asked(
    cli: Cli, words: tuple[str, ...], said: str
) -> None:
    ran = cli("exec", *words)
    assert ran.code == 2
    assert said in ran.err

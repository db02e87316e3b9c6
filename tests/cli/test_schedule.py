"""`hamgr schedule`, as people type it: the job is written as the command that would make it now."""

import json

from statemachine import codec
from statemachine.commands import SubmitJob
from statemachine.words import JobKind
from tests.cli.conftest import Cli, Replicas


def asked(replicas: Replicas, name: str) -> SubmitJob:
    request = codec.decode_command(replicas.cluster.state.schedules[name].request)
    assert isinstance(request, SubmitJob)
    return request


def test_a_schedule_is_added_as_the_command_that_it_repeats(live: Cli, replicas: Replicas) -> None:
    words = ("node", "upgrade", "-l", "role=web", "--max-parallel", "3", "--set", "a.b=1")
    made = live(
        "schedule", "add", "weekly", "--cron", "0 22 * * sat", "--zone", "Europe/Madrid", "--", *words
    )
    assert made.code == 0, made.err
    assert "it comes first at" in made.out
    request = asked(replicas, "weekly")
    assert (request.kind, request.selector, request.max_parallel) == (JobKind.UPGRADE, "role=web", 3)
    assert request.variables == {"a": {"b": 1}}
    assert not replicas.cluster.state.running, "nothing was asked for yet"
    drains = ("hamgr", "node", "drain", "w1", "--deadline", "10m")
    assert live("schedule", "add", "rest", "--cron", "0 5 * * *", "--", *drains).code == 0
    assert asked(replicas, "rest").task_deadline_s == 600.0


def test_schedules_are_listed_shown_paused_resumed_and_dropped(live: Cli, replicas: Replicas) -> None:
    verify = ("node", "verify", "--all")
    assert live("schedule", "add", "nightly", "--cron", "0 3 * * *", "--", *verify).code == 0
    assert "nightly" in live("schedule", "ls").out
    assert json.loads(live("schedule", "show", "nightly", "-o", "json").out)["request"]["selector"] == "*"
    assert live("schedule", "pause", "nightly", "--reason", "freeze").code == 0
    assert "freeze" in live("schedule", "ls").out
    assert "goes on" in live("schedule", "resume", "nightly").out
    unasked = live("schedule", "rm", "nightly")
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert live("schedule", "rm", "nightly", "--yes").out == "nightly is dropped\n"
    assert live("schedule", "show", "nightly").code == 3


def test_a_schedule_that_cannot_be_is_refused_and_nothing_is_kept(live: Cli, replicas: Replicas) -> None:
    def refused(*words: str, cron: str = "0 3 * * *") -> int:
        return live("schedule", "add", "n", "--cron", cron, "--", *words).code

    assert refused("config", "push", ".") == 2
    assert refused("node", "ls") == 2
    assert refused("node", "verify") == 2
    assert refused("node", "verify", "--all", "--dry-run") == 2
    assert refused("node", "verify", "--all", "--nonsense") == 2
    assert refused("node", "verify", "--all", cron="at three") == 2
    assert live("schedule", "add", "n", "--cron", "0 3 * * *").code == 2
    assert (
        live("schedule", "add", "n", "--cron", "0 3 * * *", "--dry-run", "--", "node", "verify", "--all").out
        == "n would be scheduled\n"
    )
    assert replicas.cluster.state.schedules == {}

"""A survivor becomes the first replica of a new cluster or stays what it was, whatever happens on the way."""

import errno
import json
import os
import pty
import signal
import subprocess
import sys

import pytest
import yaml

from hamgr import config
from hamgr.membership import credentials_of, raft_settings
from hamgr.raft.store.check import examine
from hamgr.recovery import case, reading, switching
from hamgr.security.authority import Authority
from statemachine.cluster.generations import INDEXES, count_of
from tests.hamgr.recovery.conftest import Machine, Machines, hamgrd

TERMS = [0, 1, 1, 1, 1]
ROUNDS_MAX = 120


def survivor(machines: Machines) -> Machine:
    one = machines(3)[0]
    one.write(TERMS, commit=3)
    return one


def sentence(one: Machine) -> str:
    done = hamgrd("recover", "--config", one.config, "-o", "json")
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["confirm"])


def check_reborn(one: Machine, before: dict[str, bytes], cluster: str) -> None:
    """The new cluster is whole, it begins with the end of the old log, and all that was old is kept."""
    settings = config.load(one.config)
    owner = credentials_of(settings).identity()
    assert owner.cluster != cluster
    assert Authority.load(one.config.parent).cluster == owner.cluster
    assert settings.peers == {}
    assert settings.tls.authority_key is not None
    found = reading.read(settings, raft_settings(settings, owner, version="").initial)
    report = reading.report_of(found, name=settings.name, version="")
    assert [(member.id, member.raft) for member in report.voters] == [(owner.id, one.raft)]
    assert report.commit == report.last == report.configuration == 2
    state = reading.state_at_end(found)
    assert state.globals == {"x3": 1, "x4": 1, "x5": 1}
    assert (count_of(state.generation), state.cluster) == (1, "abcdef12")
    assert state.index > INDEXES
    old = cluster.partition("-")[0]
    now = one.files()
    for name, data in before.items():
        kept = name.replace("data/raft/", f"data/raft.{old}/")
        replaced = name in {"ca.crt", "replica.crt", "replica.key", "hamgrd.yaml"}
        assert now[f"{name}.{old}" if replaced else kept] == data, name
    left = {path.name for path in (one.data, one.config.parent) for path in path.iterdir()}
    assert left.isdisjoint({switching.PLAN, switching.STAGED_KEYS, switching.STAGED_RAFT})


def test_the_new_cluster_begins_with_the_end_of_the_log_and_the_old_is_kept(machines: Machines) -> None:
    one = survivor(machines)
    cluster = case.Here.read(one.config).survivor.cluster
    before = one.files()
    asked = sentence(one)
    assert asked == f"recover {cluster.partition('-')[0]} on r1 at entry 5"
    assert one.files() == before
    done = hamgrd("recover", "--config", one.config, "--confirm", asked)
    assert done.exit_code == 0, done.output
    assert f"It goes on from entry 5 of cluster {cluster}, as generation 1" in done.output
    check_reborn(one, before, cluster)
    assert yaml.safe_load(one.config.read_text())["ssh"] == yaml.safe_load(before["hamgrd.yaml"])["ssh"]
    again = hamgrd("recover", "--config", one.config)
    assert again.exit_code == 1
    assert "a majority is left: r1, 1 of 1 voters; start them instead" in again.output


@pytest.mark.parametrize(
    "typed", ["yes", "recover", "recover c1 on r1 at entry 5", "recover {} on r1 at entry 4"]
)
def test_another_sentence_changes_nothing(machines: Machines, typed: str) -> None:
    one = survivor(machines)
    before = one.files()
    cluster = case.Here.read(one.config).survivor.cluster
    done = hamgrd("recover", "--config", one.config, "--confirm", typed.format(cluster.partition("-")[0]))
    assert done.exit_code == 1
    assert "not the sentence, so nothing was changed" in done.output
    assert one.files() == before


def test_without_a_sentence_and_a_terminal_it_is_only_told(machines: Machines) -> None:
    one = survivor(machines)
    before = one.files()
    done = hamgrd("recover", "--config", one.config)
    assert done.exit_code == 0
    assert "nothing was changed; to go on: --confirm 'recover " in done.output
    assert one.files() == before


def test_a_replica_that_ran_since_it_was_compared_is_compared_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = survivor(machines)
    asked = sentence(one)
    look = case.Here.looked

    def looked(here: case.Here, found: object) -> object:
        one.write([1], commit=4)
        return look(here, found)

    monkeypatch.setattr(case.Here, "looked", looked)
    done = hamgrd("recover", "--config", one.config, "--confirm", asked)
    assert done.exit_code == 1
    assert "nothing was changed: replica r1 ran meanwhile" in done.output


class Breaks:
    """Counts what is made durable, and dies or refuses at the `at`-th time."""

    def __init__(self, at: int, *, dies: bool) -> None:
        self.at, self.dies = at, dies

    def __call__(self, _file: int) -> None:
        self.at -= 1
        if self.at == 0:
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def attempt(one: Machine, asked: str, breaks: Breaks) -> tuple[int, str]:
    """Run the command in a process of its own; return its status (negative: the signal) and what it said."""
    said = one.config.parent / "said"
    child = os.fork()
    if child == 0:
        os.fsync = os.fdatasync = breaks  # type: ignore[assignment]
        done = hamgrd("recover", "--config", one.config, "--confirm", asked)
        said.write_text(done.output)
        os._exit(done.exit_code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output = said.read_text() if said.exists() else ""
    said.unlink(missing_ok=True)
    return status, output


@pytest.mark.parametrize("typed", ["", "recover"])
def test_on_a_terminal_the_sentence_is_asked_for(machines: Machines, typed: str) -> None:
    one = survivor(machines)
    cluster = case.Here.read(one.config).survivor.cluster
    before, asked = one.files(), sentence(one)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hamgr.commands", "recover", "--config", str(one.config)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.write(ours, f"{typed or asked}\n".encode())
        _, said = process.communicate(timeout=60)
    for end in (ours, theirs):
        os.close(end)
    if typed:
        assert process.returncode == 1
        assert b"not the sentence" in said
        assert one.files() == before
    else:
        assert process.returncode == 0, said
        check_reborn(one, before, cluster)


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "disk full"])
def test_wherever_it_breaks_off_the_old_is_in_force_or_the_new_can_be_finished(
    machines: Machines, dies: bool
) -> None:
    one = survivor(machines)
    cluster = case.Here.read(one.config).survivor.cluster
    before, asked, breaks_at, phases = one.files(), sentence(one), 0, {"old": 0, "between": 0}
    for _ in range(ROUNDS_MAX):
        between = (one.data / switching.PLAN).exists()
        breaks_at = 1 if between else breaks_at + 1
        status, output = attempt(one, asked, Breaks(breaks_at, dies=dies))
        if status == 0:
            break
        assert status == (-signal.SIGKILL if dies else 1), output
        if (one.data / switching.PLAN).exists():
            phases["between"] += 1
            assert dies or "give the same command again" in output
            refused = hamgrd("run", "--config", one.config)
            assert refused.exit_code == 78
            assert "a recovery was cut short" in refused.output
            continue
        if between:  # what was left was to forget the plan for good
            break
        phases["old"] += 1
        assert dies or "nothing was changed" in output
        found = one.files()
        assert {name: found[name] for name in before} == before
        assert examine(one.data).sound
    check_reborn(one, before, cluster)
    assert phases["old"] > 15
    assert phases["between"] > 5, phases


def test_a_plan_that_cannot_be_read_is_kept(machines: Machines) -> None:
    one = survivor(machines)
    plan = one.data / switching.PLAN
    plan.write_text("{}")
    done = hamgrd("recover", "--config", one.config)
    assert done.exit_code == 1
    assert "keep all files" in done.output
    assert plan.read_text() == "{}"

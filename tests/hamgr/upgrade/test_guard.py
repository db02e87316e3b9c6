"""The guard: makes a release beside the one that runs, switches, and takes it back; with fake restarts."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hamgr.bootstrap.unit import guard_units
from hamgr.upgrade import guard as guards
from hamgr.upgrade.guard import Guard
from hamgr.upgrade.health import Seen, wait_well
from hamgr.upgrade.orders import Desk, Order, Progress
from hamgr.upgrade.releases import Releases
from hamgr.upgrade.restarting import CannotRestart, CommandRestarting, SystemdRestarting
from hamgr.upgrade.settings import UpgradeSection
from statemachine.upgrading import UpgradePhase
from tests.wheelwork import lay_release, small_wheel

OLD, NEW = "0.1.0-old", "0.2.0-new"
DAEMON = {"hamgr/__init__.py": "", "hamgr/daemon.py": "", "hamgr/commands.py": "def main(words): pass\n"}


class Machine:
    """One machine: its releases, and a replica that runs what the link names when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "opt"
        self.releases = Releases(root=self.root)
        self.desk = Desk(folder / "data")
        self.sick: set[str] = set()
        self.process, self.runs = 1, OLD
        self.refuses = ""
        lay_release(self.root, OLD, small_wheel("0.1.0", files=DAEMON))

    def restart(self) -> None:
        if self.refuses:
            raise CannotRestart(self.refuses)
        self.process, self.runs = self.process + 1, self.releases.running()

    def trouble(self) -> str:
        return ""

    def start_guard(self, words: object) -> None:
        raise AssertionError("a guard starts no guard")

    def look(self) -> Seen:
        return Seen(
            release=self.runs, process=self.process, trouble="it hangs" if self.runs in self.sick else ""
        )

    def order(self, *wheels: bytes, order_id: str = "u-1.1") -> Order:
        paths = [str(self.desk.put_wheel(f"w{n}", data)) for n, data in enumerate(wheels)]
        order = Order(
            id=order_id, name="r1", root=str(self.root), release=NEW, before=OLD, config="/c", wheels=paths
        )
        self.desk.put_order(order)
        return order

    def carry_out(self, order: Order) -> Progress:
        settings = UpgradeSection(healthy_deadline_s=0.3, stable_s=0.0)
        Guard(desk=self.desk, order=order, settings=settings, restarting=self, look=self.look).carry_out()
        assert self.desk.order() is None
        assert not (self.root / "guard").is_symlink()
        progress = self.desk.progress()
        assert progress is not None
        return progress


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_good_release_is_made_beside_the_old_one_and_runs(machine: Machine) -> None:
    before = sorted(machine.releases.path(OLD).rglob("*"))
    progress = machine.carry_out(machine.order(small_wheel("0.2.0", files={**DAEMON, "hamgr/more.py": ""})))
    assert progress == Progress(order="u-1.1", phase=UpgradePhase.DONE, sentence=f"r1 runs {NEW}")
    assert machine.runs == machine.releases.running() == NEW
    assert list(machine.releases.path(NEW).rglob("more.py"))
    assert sorted(machine.releases.path(OLD).rglob("*")) == before


def test_no_file_of_the_release_that_runs_is_written_into(machine: Machine) -> None:
    scripts = {"hamgr-0.2.0.dist-info/entry_points.txt": "[console_scripts]\nhamgrd = hamgr.commands:other\n"}
    alone = next(machine.releases.path(OLD).glob("lib/*/site-packages")) / "alone.py"
    alone.write_text("old = 1\n")
    before = contents(machine.releases.path(OLD))
    wheel = small_wheel("0.2.0", files={**DAEMON, **scripts, "alone.py": "new = 1\n"})
    assert machine.carry_out(machine.order(wheel)).phase is UpgradePhase.DONE
    assert contents(machine.releases.path(OLD)) == before
    assert "import other" in (machine.releases.path(NEW) / "bin" / "hamgrd").read_text()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_an_order_that_ended_is_not_carried_out_again(machine: Machine) -> None:
    order = machine.order(small_wheel("0.2.0", files=DAEMON))
    ended = Progress(order=order.id, phase=UpgradePhase.ROLLED_BACK, sentence="it hangs")
    machine.desk.put_progress(ended)
    assert machine.carry_out(order) == ended
    assert machine.process == 1


def test_a_release_that_is_started_again_and_again_is_not_well() -> None:
    processes = itertools.count(1)
    trouble = wait_well(lambda: Seen(release=NEW, process=next(processes)), NEW, deadline_s=0.3, stable_s=0.3)
    assert trouble == "it was started again and again"


def test_a_release_that_hangs_is_taken_back(machine: Machine) -> None:
    machine.sick.add(NEW)
    progress = machine.carry_out(machine.order(small_wheel("0.2.0", files=DAEMON)))
    assert progress.phase is UpgradePhase.ROLLED_BACK
    assert progress.sentence == f"r1: {NEW} did not come up: it hangs; {OLD} runs there again"
    assert machine.runs == machine.releases.running() == OLD


def test_when_the_old_one_does_not_come_up_either_that_is_said(machine: Machine) -> None:
    machine.sick |= {OLD, NEW}
    progress = machine.carry_out(machine.order(small_wheel("0.2.0", files=DAEMON)))
    assert progress.phase is UpgradePhase.FAILED
    assert f"{OLD} does not come up either" in progress.sentence


def test_a_restart_that_fails_is_taken_back_too(machine: Machine) -> None:
    machine.refuses = "no such service"
    progress = machine.carry_out(machine.order(small_wheel("0.2.0", files=DAEMON)))
    assert progress.phase is UpgradePhase.FAILED
    assert "no such service" in progress.sentence
    assert machine.releases.running() == OLD


@pytest.mark.parametrize(
    ("wheel", "says"),
    [
        (b"no zip", "this is no wheel"),
        (
            small_wheel("0.2.0", files={**DAEMON, "hamgr/daemon.py": "import nothing_like_it\n"}),
            "nothing_like_it",
        ),
        (
            small_wheel("0.2.0", files=DAEMON, requires="no-such-thing>=2"),
            "needs no-such-thing>=2, which is not here",
        ),
        (small_wheel("0.2.0", files=DAEMON, requires="click>=9999"), "needs click>=9999"),
        (small_wheel("0.2.0", files={**DAEMON, "../evil": "x"}), "outside of the release"),
        (small_wheel("0.2.0", files=DAEMON, tag="cp27-cp27m-win32"), "is for cp27-cp27m-win32"),
    ],
    ids=["no wheel", "no import", "lacks", "lacks newer", "climbs", "foreign"],
)
def test_what_cannot_be_installed_changes_nothing(machine: Machine, wheel: bytes, says: str) -> None:
    progress = machine.carry_out(machine.order(wheel))
    assert progress.phase is UpgradePhase.FAILED
    assert progress.sentence.startswith(f"r1 runs {OLD} as before: ")
    assert says in progress.sentence
    assert (machine.process, machine.runs, machine.releases.running()) == (1, OLD, OLD)


def test_a_wheel_that_is_needed_can_come_along(machine: Machine) -> None:
    needed = small_wheel("2.1", name="nosuchthing")
    progress = machine.carry_out(
        machine.order(small_wheel("0.2.0", files=DAEMON, requires="nosuchthing>=2"), needed)
    )
    assert progress.phase is UpgradePhase.DONE


def test_a_guard_that_was_killed_while_it_installed_begins_again(machine: Machine) -> None:
    order = machine.order(small_wheel("0.2.0", files=DAEMON))
    half = machine.releases.path(f"{NEW}.new")
    half.mkdir()
    (half / "half").write_text("")
    machine.desk.put_progress(Progress(order=order.id, phase=UpgradePhase.INSTALLING, sentence=""))
    assert machine.carry_out(order).phase is UpgradePhase.DONE
    assert not half.exists()
    assert not (machine.releases.path(NEW) / "half").exists()


def test_a_guard_that_was_killed_at_the_restart_takes_back_what_does_not_come_up(machine: Machine) -> None:
    order = machine.order(small_wheel("0.2.0", files=DAEMON))
    machine.releases.make(NEW, OLD, [small_wheel("0.2.0", files=DAEMON)])
    machine.releases.switch(NEW)
    machine.sick.add(NEW)
    machine.desk.put_progress(Progress(order=order.id, phase=UpgradePhase.RESTARTING, sentence=""))
    assert machine.carry_out(order).phase is UpgradePhase.ROLLED_BACK
    assert machine.releases.running() == OLD


def test_what_an_earlier_order_left_is_no_news_of_this_one(machine: Machine) -> None:
    machine.desk.put_wheel("w", b"")
    machine.desk.put_progress(Progress(order="u-1.1", phase=UpgradePhase.FAILED, sentence=""))
    order = machine.order(small_wheel("0.2.0", files=DAEMON), order_id="u-1.2")
    assert machine.carry_out(order).phase is UpgradePhase.DONE


def test_only_one_guard_works_and_without_an_order_none_does(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.guarding() as first:
        assert first
        guards.run(tmp_path)
    guards.run(tmp_path)
    assert desk.progress() is None


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def by_systemd(tmp_path: Path, ends: int) -> tuple[SystemdRestarting, Callable[[], str]]:
    log = tmp_path / "asked"
    program = script(tmp_path / "systemctl", f'echo "$@" >> {log}; echo no unit >&2; exit {ends}')
    return SystemdRestarting(booted=tmp_path, systemctl=program), log.read_text


def by_command(tmp_path: Path, ends: int) -> tuple[CommandRestarting, Callable[[], str]]:
    log = tmp_path / "asked"
    program = script(tmp_path / "again", f'echo "$@" >> {log}; echo no unit >&2; exit {ends}')
    return CommandRestarting([program, "restart", "hamgrd.service"]), log.read_text


@pytest.mark.parametrize("made", [by_systemd, by_command])
def test_a_replica_is_restarted_by_systemd_or_by_a_command(made: Callable, tmp_path: Path) -> None:
    restarting, asked = made(tmp_path, 0)
    assert restarting.trouble() == ""
    restarting.restart()
    assert asked().splitlines()[-1] == "restart hamgrd.service"


@pytest.mark.parametrize("made", [by_systemd, by_command])
def test_a_restart_that_is_refused_is_told_in_its_own_words(made: Callable, tmp_path: Path) -> None:
    restarting, _ = made(tmp_path, 3)
    with pytest.raises(CannotRestart, match="status 3: no unit"):
        restarting.restart()


def test_a_machine_where_nobody_could_restart_is_told_before_anything_begins(tmp_path: Path) -> None:
    assert "upgrade.restart" in SystemdRestarting(booted=tmp_path / "none").trouble()
    assert "systemctl enable --now hamgrd-upgrade.path" in by_systemd(tmp_path, 3)[0].trouble()
    assert "is not there" in CommandRestarting([str(tmp_path / "none")]).trouble()


def test_a_guard_that_a_command_s_replica_starts_is_nobody_s_child(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    CommandRestarting(["true"]).start_guard(["/bin/sh", "-c", f"cut -d' ' -f4-6 /proc/$$/stat > {told}"])
    parent, group, session = map(int, told.read_text().split())
    assert parent != os.getpid()
    assert os.getpgrp() != group
    assert os.getsid(0) != session


def test_the_guard_s_units_wait_for_an_order_and_prefer_the_release_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guard_units(data=tmp_path) == {}
    prefix = lay_release(tmp_path / "opt", OLD, small_wheel("0.1.0", files=DAEMON))
    monkeypatch.setattr("sys.prefix", str(prefix))
    service, path = guard_units(data=Path("/data")).values()
    assert f"p={tmp_path}/opt/guard; [ -x $$p/bin/python ] || p={tmp_path}/opt/current" in service
    assert "exec $$p/bin/python -m hamgr.commands guard-upgrade /data" in service
    assert "PathExists=/data/upgrade/order.json" in path


def test_files_between_replica_and_guard_that_are_damaged_count_as_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.put_wheel("w", b"")
    for text in ("", "[]", "{}", json.dumps({"order": "x", "phase": "flying", "sentence": ""})):
        (desk.folder / "order.json").write_text(text)
        (desk.folder / "progress.json").write_text(text)
        assert desk.order() is None
        assert desk.progress() is None

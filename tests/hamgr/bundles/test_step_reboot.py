"""`reboot` steps on a practice node, which boots anew when the test says so."""

import shutil
import subprocess
import time

import pytest

from hamgr.bundles import compile_check, compile_preview
from statemachine.words import Verb

REBOOT = {"reboot": {"command": ["restart-me", "--now"]}}
RECORD = "var/lib/hamgr/reboots/c-commission-s"


@pytest.fixture
def machine(any_node):
    (any_node.root / "run").mkdir()
    (any_node.root / "run/boot_id").write_text("boot-1\n")
    any_node.install("restart-me", '#!/bin/sh\nprintf "%s\\n" "$*" >>"$HAMGR_ROOT/asked"\n')
    return any_node


@pytest.fixture
def check(bundle_with):
    return compile_check(
        bundle_with(REBOOT), "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1"
    )


def begin(machine, script):
    """Start the step, and return it once it has asked for the restart; it waits to be ended."""
    file = machine.root.parent / "step"
    file.write_bytes(script)
    root = machine.root
    environment = {
        "PATH": f"{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HAMGR_ROOT": str(root),
        "HAMGR_STATE": f"{root}/var/lib/hamgr",
        "HAMGR_JOB": "j1",
    }
    shell = [shutil.which(machine.shell[0]), *machine.shell[1:]]
    step = subprocess.Popen([*shell, str(file)], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (root / "asked").exists() or not (root / "asked").read_text():
        assert time.monotonic() < deadline
        assert step.poll() is None
        time.sleep(0.01)
    return step


def end(step):
    step.kill()
    step.wait()


def test_a_restart_is_asked_for_once_and_waited_for_and_its_check_knows_the_next_boot(
    machine, compiled, check
):
    assert machine.run(check).stderr == "hamgr: no restart was asked for\n"
    step = begin(machine, compiled(REBOOT))
    try:
        assert (machine.root / RECORD).read_text() == "j1 boot-1\n"
        assert (machine.root / "asked").read_text() == "--now\n"
        time.sleep(0.1)
        assert step.poll() is None
    finally:
        end(step)
    done = machine.run(check)
    assert (done.returncode, done.stderr) == (1, "hamgr: the machine still runs under boot boot-1\n")
    (machine.root / "run/boot_id").write_text("boot-2\n")
    done = machine.run(check)
    assert done.returncode == 0
    assert done.stdout == "restarted: boot boot-1 is over, this is boot-2\nhamgr: changed\n"


def test_a_restart_of_another_job_is_not_the_one_that_was_asked_for(machine, compiled, check):
    end(begin(machine, compiled(REBOOT)))
    (machine.root / "run/boot_id").write_text("boot-2\n")
    done = machine.run(check, HAMGR_JOB="j2")
    assert (done.returncode, done.stderr) == (1, "hamgr: no restart was asked for by this job\n")


def test_a_machine_that_cannot_be_asked_fails_the_step_at_once(machine, compiled):
    machine.install("restart-me", "#!/bin/sh\nexit 3\n")
    done = machine.run(compiled(REBOOT))
    assert done.returncode == 1
    assert done.stderr == "hamgr: the machine cannot be restarted: the command ended with exit status 3\n"


def test_nothing_is_restarted_before_the_boot_is_on_the_disk(machine, compiled):
    (machine.root / "var/lib/hamgr").mkdir(parents=True)
    (machine.root / "var/lib/hamgr/reboots").write_text("in the way\n")
    done = machine.run(compiled(REBOOT))
    assert done.returncode == 1
    assert "hamgr: cannot make " in done.stderr
    assert not (machine.root / "asked").exists()


def test_without_a_command_the_service_manager_is_asked(machine, compiled):
    machine.install("systemctl", '#!/bin/sh\necho "$*" >"$HAMGR_ROOT/asked"\n')
    end(begin(machine, compiled({"reboot": {}})))
    assert (machine.root / "asked").read_text() == "reboot\n"


def test_a_preview_says_that_the_machine_would_restart(machine, bundle_with):
    script = compile_preview(
        bundle_with(REBOOT), "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1"
    )
    assert machine.run(script).stdout == "would restart the machine\nhamgr: would change\n"
    assert not (machine.root / "asked").exists()

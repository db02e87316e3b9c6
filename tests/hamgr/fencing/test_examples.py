"""The example commands in deploy/fencing, with tools that only pretend."""

import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "deploy" / "fencing"
IPMI = """case "$*" in
*"power off") rm -f $STATE/on ;;
*"power status") if [ -e $STATE/on ]; then echo "Chassis Power is on"; else echo "Chassis Power is off"; fi ;;
esac"""
VIRSH = """case "$*" in
*destroy*) rm -f $STATE/on ;;
*domstate*) if [ -e $STATE/on ]; then echo "running"; else echo "shut off"; fi ;;
esac"""
SSH = """[ -e $STATE/on ] || exit 255
case "$*" in *poweroff*) echo takes-the-order; rm -f $STATE/on; exit 255 ;; esac"""
TOOLS = {"ipmi": ("ipmitool", IPMI), "libvirt": ("virsh", VIRSH), "ssh-poweroff": ("ssh", SSH)}
STUCK = "rm -f $STATE/on"


class Lab:
    """A machine that is on while a file is there."""

    def __init__(self, folder: Path, example: str, *, stuck: bool) -> None:
        tool, script = TOOLS[example]
        (folder / "bin").mkdir()
        path = folder / "bin" / tool
        path.write_text(f"#!/bin/sh\n{script.replace(STUCK, ':') if stuck else script}\n")
        path.chmod(0o755)
        (folder / "r2").write_text("BMC=10.0.0.2\nBMC_USER=hamgr\nURI=qemu:///system\nDOMAIN=vm2\n")
        self.on = folder / "on"
        self.on.touch()
        self._command = EXAMPLES / f"{example}.sh"
        self._environment = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "STATE": str(folder),
            "HAMGR_FENCING_DIR": str(folder),
            "HAMGR_FENCING_LOOKS": "1",
        }

    def call(self, verb: str) -> int:
        done = subprocess.run(
            [self._command, verb, "r2", "10.0.0.2"],
            env=self._environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.returncode


@pytest.mark.parametrize("example", TOOLS)
def test_an_example_switches_off_and_says_so_only_when_it_is_off(tmp_path: Path, example: str) -> None:
    lab = Lab(tmp_path, example, stuck=False)
    assert lab.call("status") == 0
    assert lab.on.exists()
    assert lab.call("off") == 0
    assert not lab.on.exists()
    assert lab.call("status") != 0


@pytest.mark.parametrize("example", TOOLS)
def test_a_machine_that_stays_on_is_not_called_off(tmp_path: Path, example: str) -> None:
    lab = Lab(tmp_path, example, stuck=True)
    assert lab.call("off") == 1
    assert lab.on.exists()


def test_over_ssh_a_machine_that_takes_no_order_is_not_called_off(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "ssh-poweroff", stuck=False)
    lab.on.unlink()  # it is dead, or cut off: nobody can tell
    assert lab.call("off") == 1


@pytest.mark.parametrize("example", TOOLS)
def test_an_example_refuses_other_verbs(tmp_path: Path, example: str) -> None:
    assert Lab(tmp_path, example, stuck=False).call("reboot") == 2

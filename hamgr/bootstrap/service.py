"""Starting a replica: by systemd where it runs, else as a process of its own."""

import subprocess
import time
from pathlib import Path

from hamgr import config
from hamgr.bootstrap.places import CannotBegin, Places, check_free
from hamgr.bootstrap.unit import GUARD_UNITS, program
from hamgr.config import ConfigError

SYSTEMD = Path("/run/systemd/system")
"""There when systemd is the init system (sd_booted(3))."""
EARLY_END_S = 2.0
START_TIMEOUT_S = 120.0


def by_systemd(places: Places) -> bool:
    """Return whether systemd is to start it."""
    return places.unit is not None and SYSTEMD.is_dir()


def how(places: Places) -> str:
    """Return the command that starts it, for people."""
    if by_systemd(places):
        return "systemctl daemon-reload && systemctl enable --now hamgrd"
    return f"{' '.join(program())} run --config {places.config}"


def start(places: Places) -> str:
    """Start the replica, and return how; one that runs already goes on.

    Raises:
        CannotBegin: It ended at once, or systemd could not start it.
    """
    if by_systemd(places):
        names = ["hamgrd"]
        if places.unit is not None and places.unit.with_name(GUARD_UNITS[1]).exists():
            names.append(GUARD_UNITS[1])
        for words in (["daemon-reload"], ["enable", "--now", *names]):
            done = subprocess.run(
                ["systemctl", *words], capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S
            )
            if done.returncode:
                raise CannotBegin(
                    f"systemctl {words[0]}: {done.stderr.strip()}; look with `journalctl -u hamgrd`"
                )
        return "systemd runs it: hamgrd.service"
    try:
        check_free(config.load(places.config).raft)
    except ConfigError as error:
        raise CannotBegin(str(error)) from error
    except CannotBegin:
        return "it runs already"
    log = places.data / "hamgrd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*program(), "run", "--config", str(places.config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + EARLY_END_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CannotBegin(f"hamgrd ended at once: {''.join(lines) or 'see'} ({log})")
        time.sleep(0.1)
    return f"it runs as process {process.pid} until this machine is restarted; its log is {log}"

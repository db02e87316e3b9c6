"""Hundreds of practice nodes in a few processes.

Steps on them are real processes; the account knows what servers and steps cost together.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cli.demo.layout import LOOPBACK, make_ssh_key
from tests.bench.account import Account

NODES_PER_PROCESS_MAX = 250
START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeFleet:
    """Running practice nodes; `key` is the private key that they accept."""

    ports: tuple[int, ...]
    key: Path
    accounts: tuple[Account, ...]

    @property
    def addresses(self) -> list[str]:
        return [f"{LOOPBACK}:{port}" for port in self.ports]

    def cpu_s(self) -> float:
        """Return the processor seconds of servers and steps."""
        return sum(account.cpu_s() for account in self.accounts)


@contextlib.contextmanager
def practice_fleet(directory: Path, count: int) -> Iterator[PracticeFleet]:
    """Run `count` practice nodes for as long as the context is open."""
    directory.mkdir()
    key = directory / "id_ed25519"
    authorized = make_ssh_key(key)
    names = [f"node-{number + 1:04}" for number in range(count)]
    groups = [names[at : at + NODES_PER_PROCESS_MAX] for at in range(0, count, NODES_PER_PROCESS_MAX)]
    with ExitStack() as stack:
        accounts = []
        for number, group in enumerate(groups):
            folder = directory / f"group-{number}"
            folder.mkdir()
            account = stack.enter_context(Account(folder))
            program = (sys.executable, "-m", "backends.ssh.sandbox", "--root", folder / "nodes")
            account.start(
                ("nice", "-n", "19", *program, "--names", ",".join(group), "--authorized-key", authorized)
            )
            accounts.append(account)
        ports = [
            port
            for number, group in enumerate(groups)
            for port in _ports(directory / f"group-{number}" / "started.log", len(group))
        ]
        yield PracticeFleet(ports=tuple(ports), key=key, accounts=tuple(accounts))


def _ports(log: Path, count: int) -> list[int]:
    """Wait until a process has told of all its nodes."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        lines = log.read_text().splitlines() if log.exists() else []
        if len(lines) == count:
            with contextlib.suppress(ValueError):  # the last line is not whole yet
                return [int(json.loads(line)["port"]) for line in lines]
        if time.monotonic() > deadline:
            raise SystemExit(f"the practice nodes did not start: {''.join(lines[-5:])}")
        time.sleep(0.1)

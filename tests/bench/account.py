"""Processes whose whole offspring is accounted for: what they start, and what those leave behind.

A step of hamgr runs detached from the session that started it, and so do Ansible's kept connections; both
would vanish from the figures of whoever started them. An account is a process that inherits such orphans
(prctl(2), PR_SET_CHILD_SUBREAPER), so that its tree is all there is.

1. `cpu_s` is exact for everything that has ended or runs in the tree; no root and no cgroup is needed.
2. When the account is closed, everything that is left in the tree is ended.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.bench import cpu

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended; `output` is both of its streams."""

    exit_code: int
    output: str


class Account:
    """Starts processes, and knows what they and all that they start cost."""

    def __init__(self, directory: Path) -> None:
        self._log = directory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.account"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Account":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def start(self, argv: Sequence[str | Path]) -> None:
        """Start a process that runs until the account is closed."""
        self._ask(argv, wait=False, output=self._log / "started.log", environment={})

    def run(self, argv: Sequence[str | Path], environment: Mapping[str, str]) -> Ended:
        """Run a command in the account's folder to its end."""
        output = self._log / "run.log"
        output.unlink(missing_ok=True)
        code = self._ask(argv, wait=True, output=output, environment=environment)
        return Ended(exit_code=code, output=output.read_text())

    def cpu_s(self) -> float:
        """Return the processor seconds of everything in the tree so far."""
        return cpu.of_tree(self._process.pid)

    def _ask(
        self, argv: Sequence[str | Path], *, wait: bool, output: Path, environment: Mapping[str, str]
    ) -> int:
        order = {
            "argv": [str(word) for word in argv],
            "wait": wait,
            "output": str(output),
            "cwd": str(self._log),
            "env": {**os.environ, **environment},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class _Children:
    """Waits for all children, adopted ones too, and keeps how those ended that somebody asks for."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._reap, daemon=True).start()

    def start(self, order: dict[str, object]) -> int:
        """Start a process; what is known of an earlier one with the same id is forgotten."""
        with self._news:
            pid = _spawn(order)
            self._ended.pop(pid, None)
            return pid

    def wait(self, pid: int) -> int:
        with self._news:
            self._news.wait_for(lambda: pid in self._ended)
            return os.waitstatus_to_exitcode(self._ended.pop(pid))

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                time.sleep(POLL_S)
                continue
            assert found is not None
            with self._news:  # its id is free from now on, and with it what is kept below it
                _, self._ended[found.si_pid] = os.waitpid(found.si_pid, 0)
                self._news.notify_all()


def _spawn(order: dict[str, object]) -> int:
    argv, environment = order["argv"], order["env"]
    assert isinstance(argv, list)
    assert isinstance(environment, dict)
    os.chdir(str(order["cwd"]))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(order["output"]), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions)


def _end_everything() -> None:
    """End what is left below us: first politely, then not; orphans become children of ours and follow."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5.0
        while (left := cpu.descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(POLL_S)


def main() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bench, which then closes our input
    children = _Children()
    for line in sys.stdin:
        order = json.loads(line)
        pid = children.start(order)
        print(children.wait(pid) if order["wait"] else pid, flush=True)
    _end_everything()


if __name__ == "__main__":
    main()

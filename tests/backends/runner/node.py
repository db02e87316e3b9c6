"""A node in a folder: runs the real script under a real shell, and reads its answers with the real parser."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.ports import AttemptKey, AttemptState, AttemptStatus
from backends.runner import answers, script

DEADLINE_S = 45.0


def until(check: Callable[[], object], *, what: str) -> None:
    """Wait until `check` is true; the wait is bounded and fails the test."""
    deadline = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def key(job: str = "j", step: str = "s", attempt: int = 1) -> AttemptKey:
    return AttemptKey(job=job, step=step, attempt=attempt)


class Node:
    """One folder, one installed runner, and the shell that it is called with."""

    def __init__(self, root: Path, shell: list[str], environment: Mapping[str, str]) -> None:
        self.root = root
        self.state = root / "var/lib/hamgr"
        self.shell = shell
        self.environment = {**environment, "HAMGR_ROOT": str(root)}
        self.runner = root.parent / "runner"
        self.runner.write_bytes(script.TEXT)
        self._callers: list[subprocess.Popen[bytes]] = []

    def popen(self, words: list[str], stdin: bytes = b"", **environment: str) -> subprocess.Popen[bytes]:
        """Start a verb in a session of its own; all of its standard input has been written on return."""
        process = subprocess.Popen(
            [*self.shell, str(self.runner), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # so that readline leaves the rest for communicate
            env={**self.environment, **environment},
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while stdin:
                stdin = stdin[process.stdin.write(stdin) :]
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None
        self._callers.append(process)
        return process

    def call(self, words: list[str], stdin: bytes = b"", **environment: str) -> tuple[int, bytes, bytes]:
        """Run a verb to its end; exit status, standard output, standard error."""
        process = self.popen(words, stdin, **environment)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        return process.returncode, stdout, stderr

    def fence(self, epoch: int, job: str = "j") -> None:
        status, stdout, _ = self.call(script.fence_words(epoch, job))
        answers.parse_fence("node", stdout, status, epoch=epoch)

    def run(
        self,
        epoch: int,
        attempt: AttemptKey,
        text: str | bytes,
        *,
        wait_s: float = 10.0,
        bytes_max: int = 65536,
    ) -> AttemptStatus:
        status, stdout, _ = self.call(*run_call(epoch, attempt, text, wait_s=wait_s, bytes_max=bytes_max))
        return answers.parse_status("node", stdout, status)

    def status(self, epoch: int, attempt: AttemptKey, **environment: str) -> AttemptStatus:
        status, stdout, _ = self.call(script.status_words(epoch, attempt), **environment)
        return answers.parse_status("node", stdout, status)

    def kill(self, epoch: int, attempt: AttemptKey) -> AttemptStatus:
        status, stdout, _ = self.call(script.kill_words(epoch, attempt))
        return answers.parse_status("node", stdout, status)

    def until_state(self, state: AttemptState, epoch: int, attempt: AttemptKey) -> AttemptStatus:
        until(lambda: self.status(epoch, attempt).state is state, what=f"{attempt} never became {state}")
        return self.status(epoch, attempt)

    def launches(self) -> list[str]:
        path = self.state / "launches"
        return path.read_text().splitlines() if path.exists() else []

    def files(self) -> dict[str, bytes]:
        """Everything that is in the folder; what a refused verb must leave as it was."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def processes(self) -> list[int]:
        """Return every process that an attempt on this node has started, supervisors included."""
        mark = f"HAMGR_STATE={self.state}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def supervisor(self) -> int:
        """Return the process that waits for the step."""
        for process in self.processes():
            with contextlib.suppress(OSError):
                if b"supervise" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"):
                    stat = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                    if int(stat[3]) == process:  # it leads the session; its helper shells do not
                        return process
        raise AssertionError("no supervisor is running")

    def close(self) -> None:
        """End every caller and every process of every attempt."""
        for caller in self._callers:
            caller.kill()
            for stream in (caller.stdout, caller.stderr):
                assert stream is not None
                stream.close()
            caller.wait(timeout=DEADLINE_S)
        self.end_everything()

    def end_everything(self) -> None:
        for process in self.processes():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)

    def gate(self, name: str) -> str:
        """Return shell code that blocks until `open` is called with the same name."""
        return f'while [ ! -e "{self.root}/{name}" ]; do sleep 0.02; done'

    def open(self, name: str) -> None:
        (self.root / name).touch()


def run_call(
    epoch: int, attempt: AttemptKey, text: str | bytes, *, wait_s: float = 10.0, bytes_max: int = 65536
) -> tuple[list[str], bytes]:
    body = text.encode() if isinstance(text, str) else text
    return script.run_words(epoch, attempt, body, wait_s=wait_s, output_bytes_max=bytes_max), body

"""Runs commands and daemons where the lab wants them: on this machine, in the hub, or in a host."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "PATH": PATH}
TOOL_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
CLONE_NEWNET = 0x40000000


class LabError(Exception):
    """The lab could not do what it was asked; the message names the command and what it said."""


def tool(*argv: str | Path, text: str = "", check: bool = True) -> str:
    """Run one of this machine's tools and return what it printed, stripped.

    Raises:
        LabError: It failed and `check` is set, or took longer than `TOOL_TIMEOUT_S`.
    """
    shown = " ".join(map(str, argv))
    try:
        done = subprocess.run(
            argv, input=text, text=True, capture_output=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{shown}: no end after {TOOL_TIMEOUT_S} s") from error
    if check and done.returncode:
        raise LabError(f"{shown}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


@contextlib.contextmanager
def in_network_namespace(name: str) -> Iterator[None]:
    """Move the calling thread into a named network namespace, and back at the end.

    Sockets made inside stay there, and so do the processes and threads that are started inside.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {name}")

    with Path("/proc/thread-self/ns/net").open() as outside, Path(f"/run/netns/{name}").open() as inside:
        enter(inside.fileno())
        try:
            yield
        finally:
            enter(outside.fileno())


def children(pid: int) -> list[int]:
    """Return the processes that the main thread of `pid` has started; empty when it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Say whether a process still runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Process:
    """A long-running program in a host or in the hub, in a session of its own.

    Attributes:
        log: Where its standard output and error go (appended).
    """

    def __init__(self, argv: Sequence[str], *, forks: bool, env: Mapping[str, str], log: Path) -> None:
        """Start `argv`; with `forks` the program is the child of what is started (nsenter into a host)."""
        self.log = log
        self._forks = forks
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """This machine's number of the program (in a host's own eyes it has another one).

        Raises:
            LabError: It has ended, or did not start.
        """
        while self._popen.poll() is None:
            if not self._forks:
                return self._popen.pid
            # One child at most; `children` is empty for the moment before nsenter forks.
            if below := children(self._popen.pid):
                return below[0]
            time.sleep(0.002)
        raise LabError(f"ended with {self._popen.returncode}; {self.tail()}")

    @property
    def returncode(self) -> int | None:
        """Exit status, negative when a signal ended it (as in `subprocess`); None while it runs."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself, and to nothing that it started."""
        os.kill(self.pid, number)
        if self._forks and number in {signal.SIGKILL, signal.SIGCONT}:
            # nsenter stops itself when its child is stopped, and would then never see it end.
            self._popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the program and wait until it is gone; nothing happens when it already is."""
        with contextlib.suppress(LabError, ProcessLookupError):
            pid = self.pid
            os.kill(pid, signal.SIGKILL)
            self._popen.kill()  # in a frozen host nsenter would not notice the end of its child
            deadline = time.monotonic() + END_TIMEOUT_S
            while alive(pid) and time.monotonic() < deadline:
                time.sleep(0.002)
        self.wait()

    def stop(self) -> None:
        """SIGSTOP: it no longer runs, and its sockets stay open."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def terminate(self, *, timeout_s: float = END_TIMEOUT_S) -> int:
        """SIGTERM the program and wait for its orderly end; returns its exit status.

        Raises:
            LabError: It was still running after `timeout_s`; it still is.
        """
        with contextlib.suppress(LabError, ProcessLookupError):
            self.send(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = END_TIMEOUT_S) -> int:
        """Wait for the end and return the exit status.

        Raises:
            LabError: It was still running after `timeout_s`.
        """
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"still running after {timeout_s} s; {self.tail()}") from error

    def tail(self, bytes_max: int = 2000) -> str:
        """Return the end of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - bytes_max))
            return file.read().decode(errors="replace")

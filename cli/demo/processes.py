"""The real processes of a practice cluster: replicas and practice nodes, ended by their ids only."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.demo.layout import Layout, ReplicaPlan

END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeNode:
    """A practice node: an SSH server with a folder of its own."""

    name: str
    address: str
    port: int
    root: Path


class Processes:
    """Starts and ends the processes of one layout."""

    def __init__(self, layout: Layout, *, environment: Mapping[str, str] | None = None) -> None:
        self._layout = layout
        self._environment = {**os.environ, **(environment or {})}
        self._replicas: dict[str, subprocess.Popen[bytes]] = {}
        self._nodes: subprocess.Popen[bytes] | None = None

    def start_replica(self, name: str) -> None:
        """Start one replica; its log is appended to."""
        plan = self._plan(name)
        with plan.log.open("ab") as log:
            self._replicas[name] = subprocess.Popen(
                [sys.executable, "-m", "hamgr.daemon", "run", "--config", str(plan.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        return self._replicas[name].pid

    def pids(self) -> list[int]:
        """Return the ids of all processes that run."""
        running = [*self._replicas.values(), *([self._nodes] if self._nodes else [])]
        return [process.pid for process in running if process.poll() is None]

    def ended(self, name: str) -> int | None:
        """Return the exit status of a replica that has ended; negative for a signal."""
        return self._replicas[name].poll()

    def kill_replica(self, name: str) -> None:
        """SIGKILL; as if the machine had lost its power, but for its page cache."""
        self._replicas[name].kill()
        self._replicas[name].wait(END_TIMEOUT_S)

    def signal_replica(self, name: str, number: signal.Signals) -> None:
        self._replicas[name].send_signal(number)

    def start_nodes(self, names: Sequence[str]) -> list[PracticeNode]:
        """Start practice nodes, all in one process, and return them when all listen."""
        log = self._layout.directory / "nodes.log"
        with log.open("ab") as errors:
            self._nodes = subprocess.Popen(
                [
                    *(sys.executable, "-m", "backends.ssh.sandbox"),
                    *("--root", str(self._layout.directory / "nodes"), "--names", ",".join(names)),
                    *("--authorized-key", str(self._layout.ssh_public_key), "--reap"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )
        output = self._nodes.stdout
        lines = [output.readline() for _ in names] if output else []
        if not all(lines):
            raise RuntimeError(f"the practice nodes did not start; see {log}")
        found = [json.loads(line) for line in lines]
        return [
            PracticeNode(name=n["name"], address=n["address"], port=n["port"], root=Path(n["root"]))
            for n in found
        ]

    def stop(self) -> None:
        """End everything that was started here, and what the nodes' services left running."""
        running = [process for process in self._replicas.values() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in running:
            _wait(process)
        if self._nodes is not None and self._nodes.poll() is None:
            self._nodes.terminate()
            _wait(self._nodes)
        if self._nodes is not None and self._nodes.stdout is not None:
            self._nodes.stdout.close()

    def _plan(self, name: str) -> ReplicaPlan:
        return next(plan for plan in self._layout.replicas if plan.name == name)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_TIMEOUT_S)

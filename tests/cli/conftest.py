"""The command as a process of its own, against replicas that are served from a thread of this one."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hamgr.api import rig

# A test run in the background ignores SIGINT, and its children would inherit that.
ENTRY = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cli.main import main
main()
"""
RUN_TIMEOUT_S = 30.0


class Replicas:
    """Replicas of one cluster, behind HTTP, on an event loop in a thread."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._directory = directory
        self._stacks: dict[str, AsyncExitStack] = {}
        self.cluster = self.do(self._cluster())
        self.servers: dict[str, rig.Server] = {}

    async def _cluster(self) -> rig.Cluster:
        return rig.Cluster()

    def do(self, coroutine: Any) -> Any:
        """Run a coroutine on the replicas' loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(RUN_TIMEOUT_S)

    def on_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the replicas' loop."""

        async def call() -> Any:
            return function(*args)

        return self.do(call())

    def start(self, *names: str) -> None:
        """Start replicas, and let all know each other."""

        async def begin(name: str) -> None:
            stack = AsyncExitStack()
            self.servers[name] = await stack.enter_async_context(
                rig.serving(self._directory, self.cluster, name)
            )
            self._stacks[name] = stack

        for name in names:
            self.do(begin(name))
        rig.link(*self.servers.values())

    def stop(self, name: str) -> None:
        """Stop a replica's server; its port refuses connections afterwards."""
        self.do(self._stacks.pop(name).aclose())
        del self.servers[name]

    def close(self) -> None:
        for name in list(self._stacks):
            self.stop(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Ran:
    code: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs `hamgr` with an environment that has nothing of the machine's own configuration."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **self.env,
        }

    def start(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        command = [sys.executable, "-c", ENTRY, *args]
        return subprocess.Popen(command, env=self.environment(), text=True, **more)

    def __call__(self, *args: str) -> Ran:
        with self.start(*args) as process:
            try:
                out, err = process.communicate(timeout=RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ran(process.returncode, out, err)


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    made = Replicas(tmp_path / "replicas")
    yield made
    made.close()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command without any server."""
    return Cli(tmp_path, {"HAMGR_TOKEN": rig.TOKEN, "HAMGR_ADDR": "http://127.0.0.1:1"})


@pytest.fixture
def live(replicas: Replicas, cli: Cli) -> Cli:
    """The command with one replica that has nodes w1 to w3, discovered."""
    replicas.start("r1")
    cli.env["HAMGR_ADDR"] = replicas.servers["r1"].url
    replicas.on_loop(rig.discovered, replicas.cluster, "w1", "w2", "w3")
    return cli


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A directory with a small bundle."""
    directory = tmp_path / "bundle"
    for name, text in rig.BUNDLE.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory

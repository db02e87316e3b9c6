"""What lies below hamgr in `fan_out`: its parts without the product around them, to bare connections.

- `executor`: the verbs of `backends.ssh` for an attempt, with the runner and its syncs on the node;
- `look`: the verb of `backends.ssh` for what changes nothing: on a kept session, bounded, not recorded;
- `sessions`: the command in a session of its own on each connection, without the runner: sshd and ourselves;
- `login`: connections alone. No one who logs in can be quicker than sshd is.
"""

import asyncio
import itertools
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from backends.ports import AttemptKey, AttemptState, Host
from backends.ssh.connections import Connections, Lane
from backends.ssh.executor import SSHExecutor
from backends.ssh.sessions import execute
from backends.ssh.settings import SSHSettings
from cli.demo.layout import LOOPBACK
from tests.bench.endpoints import Fleet, user
from tests.bench.sides import JOB_TIMEOUT_S

Work = Callable[[], object]
RUN_WAIT_S = 60.0
ANSWER_BYTES_MAX = 64 * 1024


class _Alone(ABC):
    """A side without a product around it: an event loop of its own, in the bench's process."""

    def __init__(self, _directory: Path, fleet: Fleet) -> None:
        self.fleet = fleet
        self._hosts = [
            Host(name=node.name, address=LOOPBACK, port=node.port, user=user(), host_key=node.host_key)
            for node in fleet.nodes
        ]
        self._settings = SSHSettings(client_key_paths=(fleet.key,))
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        self.run(self.renew())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.close())
        self._loop.close()

    def cpu_s(self) -> float:
        return time.process_time()

    def cold(self, command: str) -> Work:
        self.run(self.renew())
        return self._everywhere(command)

    def warm(self, command: str) -> Work:
        work = self._everywhere(command)
        work()
        return work

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run(work)

    @abstractmethod
    async def renew(self) -> None:
        """Drop every connection."""

    @abstractmethod
    async def close(self) -> None:
        """Drop every connection, for good."""

    @abstractmethod
    async def on(self, host: Host, command: str) -> None:
        """Run the command on one node."""

    def _everywhere(self, command: str) -> Work:
        async def everywhere() -> None:
            async with asyncio.TaskGroup() as group:
                for host in self._hosts:
                    group.create_task(self.on(host, command))

        return lambda: self.run(everywhere())


class Sessions(_Alone):
    """One session for each command on a connection that is kept."""

    name = "sessions"
    _connections: Connections | None = None

    async def renew(self) -> None:
        await self.close()
        self._connections = Connections(self._settings, Random(1))

    async def close(self) -> None:
        if self._connections is not None:
            await self._connections.close()

    async def on(self, host: Host, command: str) -> None:
        await self._leased(
            host,
            lambda connection, deadline: execute(
                connection, command, deadline=deadline, output_bytes_max=ANSWER_BYTES_MAX
            ),
        )

    async def _leased(self, host: Host, work: Callable[[Any, float], Awaitable[Any]]) -> None:
        assert self._connections is not None
        deadline = asyncio.get_running_loop().time() + JOB_TIMEOUT_S
        async with self._connections.lease(host, Lane.RUN, deadline=deadline) as connection:
            ended = await work(connection, deadline)
        assert ended is None or ended.exit_status == 0, ended


class Login(Sessions):
    """A connection and nothing else; there is no warm run of it."""

    name = "login"

    async def on(self, host: Host, command: str) -> None:
        del command

        async def nothing(_connection: Any, _deadline: float) -> None:
            return None

        await self._leased(host, nothing)


class Executor(_Alone):
    """The verbs of one attempt: fence the node, start, wait for the end."""

    name = "executor"
    _executor: SSHExecutor | None = None
    _epochs = itertools.count(1)

    async def renew(self) -> None:
        await self.close()
        self._executor = SSHExecutor(self._settings, random=Random(1))

    async def close(self) -> None:
        if self._executor is not None:
            await self._executor.close()

    def _everywhere(self, command: str) -> Work:
        work = super()._everywhere(command)

        def begun() -> None:
            self._epoch = next(self._epochs)
            self._job = f"bench-{uuid.uuid4().hex}"
            work()

        return begun

    async def on(self, host: Host, command: str) -> None:
        assert self._executor is not None
        key = AttemptKey(job=self._job, step="verify.00.bench.command", attempt=1)
        await self._executor.fence(host, self._epoch, job=self._job)
        script = f"{command}\n".encode()
        ended = await self._executor.run(host, self._epoch, key, script, wait_s=RUN_WAIT_S)
        assert ended.state is AttemptState.DONE, ended
        assert ended.exit_code == 0, ended


class Look(Executor):
    """A look at each node; it needs no epoch and leaves nothing there."""

    name = "look"

    async def on(self, host: Host, command: str) -> None:
        assert self._executor is not None
        script = f"{command}\n".encode()
        seen = await self._executor.look(
            host, script, timeout_s=RUN_WAIT_S, output_bytes_max=ANSWER_BYTES_MAX
        )
        assert seen.exit_code == 0, seen

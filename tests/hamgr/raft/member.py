"""A replica in a process of its own, driven by lines of JSON on its standard input.

Run as a program it is the replica; `Member` is the test's handle on one.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from hamgr import interpreter
from hamgr.raft import replica as replica_module
from hamgr.raft.port import CannotStart, ConsensusError
from hamgr.raft.replica import RaftReplica
from hamgr.raft.settings import RaftSettings
from statemachine import codec
from tests.hamgr.raft import kit

PROGRAM = Path(__file__)


class Lost(Exception):
    """The process died, or the answer was an error of consensus; the caller knows nothing."""


class Member:
    """One process; `restart` after `kill` comes back with the same folder and port."""

    def __init__(self, settings: RaftSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self._calls = {}
        self._number = 0

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            kit.to_json(self.settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        self._reader = asyncio.create_task(self._read(self.process))
        await self.call("ping", timeout_s=20)

    async def _read(self, process) -> None:
        while line := await process.stdout.readline():
            answer = json.loads(line)
            call = self._calls.pop(answer["id"], None)
            if call is not None and not call.done():
                call.set_result(answer)
        for call in self._calls.values():
            if not call.done():
                call.set_exception(Lost(f"{self.name} died"))
        self._calls.clear()

    async def call(self, op: str, *, timeout_s: float, **arguments):
        self._number += 1
        number = self._number
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n"
        try:
            self.process.stdin.write(line)
            async with asyncio.timeout(timeout_s):
                answer = await future
        except (ConnectionError, TimeoutError) as error:
            raise Lost(f"{self.name}: {type(error).__name__}") from error
        finally:
            self._calls.pop(number, None)
        if "error" in answer:
            raise Lost(f"{self.name}: {answer['error']}")
        return answer["result"]

    async def propose(self, command, *, timeout_s: float = 5.0):
        return await self.propose_bytes(codec.encode_command(command), timeout_s=timeout_s)

    async def propose_bytes(self, entry: bytes, *, timeout_s: float = 5.0):
        result = await self.call("propose", entry=entry.hex(), seconds=timeout_s, timeout_s=timeout_s + 5)
        return codec.decode_outcome(bytes.fromhex(result))

    async def read(self, *, timeout_s: float = 5.0):
        """Return index and digest of a linearizable read, and the outcome-bearing state's globals."""
        return await self.call("read", seconds=timeout_s, timeout_s=timeout_s + 5)

    async def look(self):
        """Return what the replica has applied so far, and who it thinks leads."""
        return await self.call("look", timeout_s=10)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reader

    async def stop(self) -> int:
        """Ask the replica to stop; return its exit status."""
        with contextlib.suppress(ConnectionError):
            self.process.stdin.close()
        status = await self.process.wait()
        await self._reader
        return status


async def _answer(replica: RaftReplica, request) -> None:
    answer = {"id": request["id"]}
    try:
        match request["op"]:
            case "ping":
                answer["result"] = "pong"
            case "propose":
                entry = bytes.fromhex(request["entry"])
                outcome = await replica.propose_entry(entry, timeout_s=request["seconds"])
                answer["result"] = codec.encode_outcome(outcome).hex()
            case "read":
                answer["result"] = _view(replica, await replica.read(timeout_s=request["seconds"]))
            case "confirm":
                answer["result"] = (await replica.read(timeout_s=request["seconds"])).index
            case "look":
                answer["result"] = _view(replica, replica.state)
            case "burn":
                deadline = time.monotonic() + request["seconds"]
                while time.monotonic() < deadline:
                    pass
                answer["result"] = None
            case "bench":
                answer["result"] = await _bench(replica, request)
    except ConsensusError as error:
        answer["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)


async def _bench(replica: RaftReplica, request):
    times = []
    entries = [bytes.fromhex(entry) for entry in request["entries"]]

    async def client(mine) -> None:
        for entry in mine:
            begun = time.perf_counter()
            await replica.propose_entry(entry, timeout_s=20)
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    clients = request["clients"]
    async with asyncio.TaskGroup() as group:
        for n in range(clients):
            group.create_task(client(entries[n::clients]))
    return {"times": times, "wall": time.perf_counter() - begun, "cpu": time.process_time()}


def _view(replica: RaftReplica, state):
    return {
        "index": state.index,
        "digest": codec.state_digest(state),
        "nodes": {name: dict(node.labels) for name, node in state.nodes.items()},
        "events": [(event.index, event.kind, event.subject) for event in state.events],
        "globals": state.globals,
        "leads": replica.leadership.leads,
        "leader": replica.leadership.leader,
        "term": replica.leadership.term,
        "cpu": time.process_time(),
    }


async def _serve(text: str) -> None:
    replica_module.LEADERLESS_S = 10.0  # an election that a machine's disk holds up is waited for
    replica = RaftReplica(kit.from_json(text))
    await replica.start()
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as group:
        while line := await lines.readline():
            group.create_task(_answer(replica, json.loads(line)))
        await replica.stop()


if __name__ == "__main__":
    interpreter.set_up()
    try:
        asyncio.run(_serve(sys.argv[1]))
    except CannotStart as error:
        sys.exit(str(error))

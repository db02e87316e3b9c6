import asyncio
import contextlib

import pytest

from hamgr.raft import replica as replica_module
from hamgr.raft.memory import MemoryCluster
from hamgr.raft.replica import RaftReplica
from tests.hamgr.raft import kit
from tests.hamgr.raft.member import Member


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Has callers wait for an election that a machine's disk holds up; users are told after a second."""
    monkeypatch.setattr(replica_module, "LEADERLESS_S", 10.0)


@pytest.fixture(params=["memory-3", "raft-1", "raft-3"])
async def replicas(request, tmp_path):
    """The replicas of one cluster, started, and with a leader that all know."""
    kind, count = request.param.split("-")
    if kind == "memory":
        names = [f"r{n}" for n in range(1, int(count) + 1)]
        cluster = MemoryCluster(names, apis={name: f"http://{name}" for name in names})
        made = [cluster.replica(name) for name in cluster.names()]
    else:
        made = [RaftReplica(settings) for settings in kit.settings_of(int(count), tmp_path)]
    async with running(made):
        for replica in made:
            await kit.until(lambda replica=replica: replica.leadership.leader)
        yield made


@contextlib.asynccontextmanager
async def running(replicas):
    """Start replicas together, and stop whatever runs of them in the end."""
    async with contextlib.AsyncExitStack() as stack:
        for replica in replicas:
            stack.push_async_callback(replica.stop)
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield replicas


@pytest.fixture
async def members(request, tmp_path):
    """Starts three replicas in processes of their own; `members(snapshot_entries=16)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**more) -> list[Member]:
            made = [Member(settings) for settings in kit.settings_of(3, tmp_path, **more)]
            for member in made:
                stack.push_async_callback(member.kill)
            await asyncio.gather(*(member.start() for member in made))
            return made

        yield start

import asyncio
import contextlib

import pytest

from hamgr.raft.memory import MemoryCluster
from hamgr.raft.stock import StockReplica
from tests.hamgr.raft import kit
from tests.hamgr.raft.member import Member

QUICK = {"heartbeat_s": 0.05, "election_s_min": 0.2, "election_s_max": 0.45, "quorum_lost_s": 0.4}


@pytest.fixture(params=["memory-3", "stock-1", "stock-3"])
async def replicas(request, tmp_path):
    """The replicas of one cluster, started."""
    kind, count = request.param.split("-")
    if kind == "memory":
        names = [f"r{n}" for n in range(1, int(count) + 1)]
        cluster = MemoryCluster(names, apis={name: f"http://{name}" for name in names})
        made = [cluster.replica(name) for name in cluster.names()]
    else:
        made = [StockReplica(settings) for settings in kit.settings_of(int(count), tmp_path, **QUICK)]
    async with contextlib.AsyncExitStack() as stack:
        for replica in made:
            stack.push_async_callback(replica.stop)
        await asyncio.gather(*(replica.start() for replica in made))
        yield made


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

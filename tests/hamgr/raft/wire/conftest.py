import asyncio
import contextlib

import pytest
import uvloop

from tests.hamgr.raft.wire.kit import Certificates, Replica, member, until


def pytest_asyncio_loop_factories(config, item):
    """Every asynchronous test runs on both loops: the engine's is uvloop, others may use the default."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def replicas(certificates):
    """Starts so many replicas that know each other, and waits until they are linked; more can be `added`."""
    async with contextlib.AsyncExitStack() as stack:

        class Replicas:
            async def linked(self, count=2, **more):
                members = [member(f"r{number}") for number in range(1, count + 1)]
                made = [await self.added(one, **more) for one in members]
                for one in made:
                    one.know(*members)
                for one in made:
                    for other in members:
                        if other != one.me:
                            await until(lambda one=one, other=other: one.count("up", other))
                return made

            async def added(self, me, **more):
                made = Replica(certificates, me, **more)
                await made.links.start()
                stack.push_async_callback(made.links.close)
                return made

        yield Replicas()

"""What waiters of a replica share: a version that rises, and reads that share a barrier."""

import asyncio
from collections.abc import Awaitable, Callable


class Changes:
    """A number that only rises, and those who wait for it to rise further; event loop only."""

    def __init__(self) -> None:
        self.version = 0
        self._waiters: dict[asyncio.Future[None], None] = {}  # woken in the order in which they came

    def raise_to(self, version: int) -> None:
        """Set the version and wake everybody, if it is a new one."""
        if version == self.version:
            return
        self.version = version
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, version: int) -> int:
        """Wait until `version` is no longer current; return the current one."""
        while self.version == version:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                self._waiters.pop(waiter, None)
        return self.version


class SharedBarrier:
    """Lets any number of readers wait for one barrier.

    A barrier serves those who came before it was sent: who comes while one is under way waits for the
    next. So at most one is under way and one is being gathered, however many read.
    """

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        self._sent = 0
        self._passed = 0

    async def pass_through(self) -> None:
        """Return after a barrier that was sent after this call has been applied here."""
        needed = self._sent + 1
        async with self._lock:
            if self._passed >= needed:
                return
            self._sent += 1
            number = self._sent
            await self._send()
            self._passed = number

"""What waiters of a replica share: a version that rises, and reads that share a confirmation."""

import asyncio
from collections.abc import Callable


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


class SharedReads:
    """Lets any number of readers share one confirmation.

    A round serves those who came before it was sent: who comes while one is under way waits for the next. So
    at most one is under way and one is being gathered, however many read. What brings no answer is asked
    again; each reader has a deadline of its own.
    """

    def __init__(self, ask: Callable[[int], None], *, again_s: float) -> None:
        """Have `ask` called with the number of each round; what it brings goes to `answered`."""
        self._ask = ask
        self._again_s = again_s
        self._number = 0
        self._gathered: list[asyncio.Future[None]] = []
        self._served: list[asyncio.Future[None]] = []
        self._again: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._gathered) + len(self._served)

    def join(self, reader: asyncio.Future[None]) -> None:
        """Have `reader` end when a round that begins from now on was confirmed."""
        self._gathered.append(reader)
        if not self._served:
            self._begin()

    def answered(self, number: int, confirmed: bool) -> None:
        """Take what a round brought; one that was given up is passed over."""
        if number != self._number or not self._served:
            return
        if not confirmed:
            return  # `_repeat` asks again soon: whoever could confirm it is not there at this moment
        self._rest()
        served, self._served = self._served, []
        for reader in served:
            if not reader.done():
                reader.set_result(None)
        if self._gathered:
            self._begin()

    def stir(self) -> None:
        """Ask again at once: the leader has changed."""
        if self._served:
            self._repeat()

    def give_up(self, error: Callable[[], Exception]) -> None:
        """End all reads with what `error` makes."""
        self._rest()
        for reader in (*self._served, *self._gathered):
            if not reader.done():
                reader.set_exception(error())
        self._served, self._gathered = [], []

    def _begin(self) -> None:
        self._served, self._gathered = self._gathered, []
        self._repeat()

    def _repeat(self) -> None:
        self._rest()
        waiting = (*self._served, *self._gathered)
        self._served, self._gathered = [reader for reader in waiting if not reader.done()], []
        if not self._served:
            return
        self._number += 1
        self._again = asyncio.get_running_loop().call_later(self._again_s, self._repeat)
        self._ask(self._number)

    def _rest(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

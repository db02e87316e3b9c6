"""How fast nodes are dialled, so that a thousand at once neither stall hamgr nor trip an sshd.

1. Sockets that have not logged in yet are bounded; so are key exchanges, which cost processor time.
2. One address and port sees few unauthenticated connections at once, and starts that keep a distance:
   sshd drops them at random from the tenth on (sshd_config(5), MaxStartups).
3. A dial that was dropped is repeated after a pause that doubles, with jitter from an injected source.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from backends.ssh.settings import SSHSettings

_PAUSE_S_FIRST = 0.1
_PAUSE_S_MAX = 2.0


@dataclass(slots=True)
class _Target:
    """One address and port."""

    places: asyncio.Semaphore
    start: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    free_at: float = 0.0


class Pacing:
    """Says when a dial may start."""

    def __init__(self, settings: SSHSettings, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._dials = asyncio.Semaphore(settings.dials_max)
        self._targets: dict[tuple[str, int], _Target] = {}
        self.handshakes = asyncio.Semaphore(settings.handshakes_max)
        """Held from the node's greeting to the end of its login."""

    @asynccontextmanager
    async def dial(self, address: str, port: int) -> AsyncIterator[None]:
        """Hold a place for one connection that has not logged in yet."""
        where = (address, port)
        target = self._targets.get(where)
        if target is None:
            target = _Target(asyncio.Semaphore(self._settings.handshakes_per_target_max))
            self._targets[where] = target
        target.users += 1
        try:
            # The target's place comes first: those who wait for one sshd must not hold up the others.
            async with target.places, self._dials:
                await self._keep_distance(target)
                yield
        finally:
            target.users -= 1
            if target.users == 0:
                del self._targets[where]

    async def _keep_distance(self, target: _Target) -> None:
        now = asyncio.get_running_loop().time
        async with target.start:
            await asyncio.sleep(max(0.0, target.free_at - now()))
            target.free_at = now() + self._settings.start_interval_s

    def pause_s(self, failures: int) -> float:
        """Return the seconds to wait after the `failures`th dropped dial in a row (counted from 1)."""
        longest = min(_PAUSE_S_MAX, _PAUSE_S_FIRST * 2.0 ** min(failures - 1, 16))
        return longest * self._random.uniform(0.5, 1.0)

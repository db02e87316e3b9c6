"""A register server that speaks the API's words, and can be given bugs: the suite must see each of them.

It is one process with one state, so without a bug everything that it says is linearizable.
"""

import asyncio
import contextlib
import enum
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.histories.client import VARIABLE, Target

REPLICAS = ("r1", "r2", "r3")
FAULTY_SHARE = 0.05
"""How often a bug shows that many requests can show."""


class Bug(enum.StrEnum):
    NONE = "none"
    STALE_READ = "a read of an old state"
    LOST_WRITE = "an acknowledged write is forgotten"
    TWICE = "a repeated request takes effect again"
    FALSE_NOT_COMMITTED = "a write that took effect is called not committed"
    IF_MATCH_IGNORED = "a swap does not compare"
    NEVER_CHANGED = "a swap whose tag is right is refused"
    UNLABELLED = "a stale read is not labelled"
    TOO_YOUNG = "a stale read is older than it says"
    TORN = "a value comes with the index of another"
    INTERNAL = "an internal error"


@dataclass(slots=True)
class Register:
    """A value with every earlier one, by index."""

    past: list[tuple[int, str | None]]

    def at(self, index: int) -> tuple[int, str | None]:
        return [place for place in self.past if place[0] <= index][-1]


@dataclass(slots=True)
class FaultyApi:
    """The state, and what goes wrong with it.

    Attributes:
        shaky: Answers are held back and connections cut now and then, as misfortunes would.
    """

    keys: tuple[str, ...]
    bug: Bug
    rng: random.Random
    shaky: bool = True
    index: int = 0
    registers: dict[str, Register] = field(default_factory=dict)
    remembered: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    at_s: dict[int, float] = field(default_factory=dict)
    """When each index came to be."""

    def __post_init__(self) -> None:
        for number, key in enumerate(self.keys, 1):
            self.registers[key] = Register([(number, None)])
            self.at_s[number] = 0.0
        self.index = len(self.keys)

    def shows(self, bug: Bug, share: float = FAULTY_SHARE) -> bool:
        return self.bug is bug and self.rng.random() < share

    async def get(self, request: web.Request) -> web.Response:
        await self._waver(request)
        stale = request.query.get("consistency") == "stale"
        now_s = asyncio.get_running_loop().time()
        seen = self.index
        if stale or self.shows(Bug.STALE_READ):
            seen = max(len(self.keys), self.index - self.rng.randrange(30))
        index, value = self.registers[request.match_info["key"]].at(seen)
        if self.shows(Bug.TORN):
            index = max(1, index - 1)
        lost = [at_s for i, at_s in self.at_s.items() if i > seen]
        age_s = now_s - min(lost) if lost else 0.0
        headers = {
            "ETag": f'"{index}"',
            "X-Hamgr-Consistency": "stale" if stale else "linearizable",
            "X-Hamgr-Index": str(seen),
        }
        if stale and not self.shows(Bug.UNLABELLED, 0.3):
            headers["X-Hamgr-Age"] = f"{0.0 if self.bug is Bug.TOO_YOUNG else age_s + 0.001:.3f}"
        return web.json_response({"variables": {VARIABLE: value}}, headers=headers)

    async def patch(self, request: web.Request) -> web.Response:
        value = (await request.json())["variables"][VARIABLE]
        await self._waver(request)
        if self.shows(Bug.INTERNAL):
            return problem(500, "internal")
        id_ = request.headers["Idempotency-Key"]
        if id_ not in self.remembered or self.shows(Bug.TWICE, 1.0):
            self.remembered[id_] = self._obey(
                request.match_info["key"], value, request.headers.get("If-Match")
            )
        status, body = self.remembered[id_]
        await self._waver(request)
        if self.shows(Bug.FALSE_NOT_COMMITTED, 0.3):
            return problem(503, "not-committed")
        if status != 200:
            return problem(status, "changed")
        return web.json_response(body, headers={"ETag": f'"{body["index"]}"'})

    def _obey(self, key: str, value: str, tag: str | None) -> tuple[int, dict[str, Any]]:
        register = self.registers[key]
        self.index += 1
        self.at_s[self.index] = asyncio.get_running_loop().time()
        right = tag is None or tag == f'"{register.past[-1][0]}"' or self.shows(Bug.IF_MATCH_IGNORED, 1.0)
        if not right or (tag is not None and self.shows(Bug.NEVER_CHANGED)):
            return 412, {}
        if not self.shows(Bug.LOST_WRITE):
            register.past.append((self.index, value))
        return 200, {"index": self.index}

    async def _waver(self, request: web.Request) -> None:
        """Hold an answer back, or cut the connection: before or after the effect, as it comes."""
        if not self.shaky:
            return
        await asyncio.sleep(self.rng.random() * 0.01)
        if self.rng.random() < 0.03 and request.transport is not None:
            request.transport.abort()
            await asyncio.sleep(0)


def problem(status: int, code: str) -> web.Response:
    return web.json_response({"code": code}, status=status, content_type="application/problem+json")


@contextlib.asynccontextmanager
async def serving(api: FaultyApi) -> AsyncIterator[list[Target]]:
    """Serve on loopback; all replicas are the one server."""
    app = web.Application()
    app.router.add_get("/{key}", api.get)
    app.router.add_patch("/{key}", api.patch)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as session:
            yield [Target(name, url, session) for name in REPLICAS]
    finally:
        await runner.cleanup()

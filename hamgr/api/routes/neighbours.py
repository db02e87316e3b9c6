"""Who announces SSH on the networks of this replica, by multicast DNS; an optional extra."""

import asyncio

from aiohttp import web

from hamgr.api import query
from hamgr.api.context import context_of
from hamgr.api.problems import Problem

SECONDS_DEFAULT, SECONDS_MAX = 5, 30
BROWSING: web.AppKey[asyncio.Lock] = web.AppKey("browsing", asyncio.Lock)


async def list_neighbours(request: web.Request) -> web.Response:
    """Listen for some seconds, and tell who is there; nothing is recorded."""
    query.allow(request, "seconds")
    seconds = query.number(request, "seconds", default=SECONDS_DEFAULT, low=1, high=SECONDS_MAX)
    name = context_of(request).name
    try:
        from hamgr.discovery import mdns  # noqa: PLC0415 - an extra, for whoever asks
    except ImportError as error:
        raise Problem(
            "no-mdns",
            f"replica {name} cannot ask by multicast DNS: {error.name} is not installed",
            hint="run `pip install 'hamgr[mdns]'` in its environment, or name a range: hamgr discover cidr",
        ) from error
    async with request.app[BROWSING]:  # who comes meanwhile waits its turn, and adds no traffic
        try:
            found = await mdns.browse(seconds)
        except mdns.CannotBrowse as error:
            raise Problem(
                "no-mdns", f"replica {name}: {error}", hint="name a range: hamgr discover cidr"
            ) from error
    items = [{"name": one.name, "address": one.address, "port": one.port} for one in found]
    return web.json_response({"items": items, "total": len(items), "replica": name})

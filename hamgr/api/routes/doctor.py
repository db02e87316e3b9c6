"""What this replica finds when it looks at itself, at its machine and at the other replicas."""

import asyncio

from aiohttp import web

from hamgr.api import query
from hamgr.api.context import context_of


async def get_doctor(request: web.Request) -> web.Response:
    """Look, and tell; a measurement of the disk is part of it, so this takes a moment."""
    query.allow(request)
    context = context_of(request)
    items = await asyncio.to_thread(context.doctor)
    return web.json_response({"replica": context.name, "items": items})

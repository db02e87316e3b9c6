"""This replica's fencing command: how its tests stand; and one more, now."""

from aiohttp import web

from hamgr.api import query
from hamgr.api.context import Fencing, context_of
from hamgr.api.problems import Problem


async def get_fencing(request: web.Request) -> web.Response:
    """Tell what was tested last, and whether fencing is counted on."""
    query.allow(request)
    return web.json_response({"replica": context_of(request).name, **_fencing(request).view()})


async def test_fencing(request: web.Request) -> web.Response:
    """Test it on every other voter, switch nobody off, and answer what came of it."""
    query.allow(request)
    fencing = _fencing(request)
    items = await fencing.test()
    return web.json_response({"replica": context_of(request).name, "items": items, **fencing.view()})


def _fencing(request: web.Request) -> Fencing:
    context = context_of(request)
    if context.fencing is None:
        raise Problem(
            "no-fencing",
            f"replica {context.name} has no fencing command",
            hint="set `fencing` in its configuration (docs/voters.md)",
        )
    return context.fencing

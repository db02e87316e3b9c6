"""Probes on behalf of another replica: whether nodes answer, as seen from here."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, query
from hamgr.api.context import context_of
from hamgr.api.parse import Body, Name
from hamgr.api.problems import Problem
from hamgr.presence.vantages import ASKED_MAX
from statemachine.words import NodeName


class ProbeBody(Body):
    """POST /v1/presence:probe; nodes by name, so that nothing but the fleet can be probed."""

    nodes: Annotated[list[Name], Field(max_length=ASKED_MAX)]


async def probe(request: web.Request) -> web.Response:
    """Answer which of the nodes are known here and were probed, and why some of them were silent."""
    query.allow(request)
    presence = context_of(request).presence
    if presence is None:
        raise Problem("no-such-route", "this replica probes no nodes", hint="see `presence` in hamgrd.yaml")
    body = await parse.read_body(request, ProbeBody)
    probed, silent = await presence.probe([NodeName(name) for name in dict.fromkeys(body.nodes)])
    return web.json_response({"probed": probed, "silent": silent})

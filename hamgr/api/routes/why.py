"""Why a job or a node waits, was refused, or is unhealthy: the recorded reasons, in plain words."""

from typing import Any

from aiohttp import web

from hamgr.api import query
from hamgr.api.context import context_of
from hamgr.api.problems import of_rejected
from hamgr.api.routes.jobs import job_in_path
from statemachine.nodes import inventory
from statemachine.why.jobs import why_job
from statemachine.why.nodes import why_node
from statemachine.why.reasons import Cause
from statemachine.words import NodeName


async def job_why(request: web.Request) -> web.Response:
    """Say what holds a job, what runs, what waits for what, and what failed."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    job = job_in_path(state, request)
    found = why_job(state, job, context_of(request).clock.now())
    return web.json_response(_view("job", job.id, found) | {"index": state.index})


async def node_why(request: web.Request) -> web.Response:
    """Say what is wrong with a node, who is at work on it, and who waits for it."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    node = state.nodes.get(NodeName(request.match_info["node"]))
    if node is None:
        raise of_rejected(inventory.no_such_node(NodeName(request.match_info["node"])))
    found = why_node(state, node, context_of(request).clock.now())
    return web.json_response(_view("node", node.name, found) | {"index": state.index})


def _view(noun: str, name: str, causes: list[Cause]) -> dict[str, Any]:
    return {
        "about": noun,
        "name": name,
        "causes": [
            {
                "kind": cause.kind,
                "message": cause.message,
                "since": cause.since,
                "until": cause.until,
                "way_out": cause.way_out,
                "output": cause.output,
            }
            for cause in causes
        ],
    }

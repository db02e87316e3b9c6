"""Nodes: list, show, add, edit, forget, maintenance, debts, and where their variables come from."""

from bisect import bisect_right

from aiohttp import web

from hamgr.api import parse, proposals, query, views
from hamgr.api.previews import preview
from hamgr.api.problems import Fault, Problem, of_rejected
from statemachine.commands import AddNode, EditNode, ForgetNode, ForgiveDebt, ReplaceNode, SetMaintenance
from statemachine.model import Endpoint, Node, State
from statemachine.nodes import inventory, targets, variables
from statemachine.words import JobId, NodeName

PAGE_DEFAULT = 500
PAGE_MAX = 1_000


def _name(request: web.Request) -> NodeName:
    return NodeName(request.match_info["node"])


def _node(state: State, name: NodeName) -> Node:
    if name not in state.nodes:
        raise of_rejected(inventory.no_such_node(name))
    return state.nodes[name]


async def list_nodes(request: web.Request) -> web.Response:
    """Return the nodes that a selector names, a page at a time, by name."""
    query.allow(request, "selector", "limit", "continue", "consistency")
    limit = query.number(request, "limit", default=PAGE_DEFAULT, low=1, high=PAGE_MAX)
    terms = targets.parse(request.query.get("selector") or "*")
    if isinstance(terms, str):
        raise Problem("bad-query", terms)
    state = await query.read_state(request)
    names = targets.select(state, terms)
    after = request.query.get("continue", "")
    first = bisect_right(names, after)
    page = names[first : first + limit]
    return web.json_response(
        {
            "items": [views.node_line(state.nodes[name]) for name in page],
            "total": len(names),
            "continue": page[-1] if len(names) > first + limit else None,
            "index": state.index,
        }
    )


async def get_node(request: web.Request) -> web.Response:
    """Return one node with its facts, variables and history."""
    query.allow(request, "consistency")
    node = _node(await query.read_state(request), _name(request))
    return web.json_response(views.node_whole(node), headers={"ETag": f'"{node.index}"'})


async def add_node(request: web.Request) -> web.Response:
    """Make a node known before anybody has seen it."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, parse.NodeBody)
    command = proposals.make(
        request,
        AddNode,
        node=NodeName(body.name),
        endpoint=Endpoint(address=body.address, port=body.port, user=body.user),
        labels=body.labels,
        variables=body.variables,
        role=body.role,
    )
    accepted = await proposals.submit(request, command)
    headers = {"Location": f"/v1/nodes/{body.name}", "ETag": f'"{accepted.index}"'}
    return proposals.answer(request, accepted, status=201, headers=headers)


async def edit_node(request: web.Request) -> web.Response:
    """Change labels, variables or role."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, parse.NodePatch)
    if body.labels is None and body.variables is None and body.role is None:
        raise parse.bad_body([Fault(message="changes nothing; give labels, variables or role")])
    labels = None if body.labels is None else {key: value or "" for key, value in body.labels.items()}
    command = proposals.make(
        request,
        EditNode,
        node=_name(request),
        labels=labels,
        variables=body.variables,
        role=body.role,
        if_index=query.if_match(request),
    )
    accepted = await proposals.submit(request, command)
    return proposals.answer(request, accepted, headers={"ETag": f'"{accepted.index}"'})


async def forget_node(request: web.Request) -> web.Response:
    """Strike a node from the inventory."""
    query.allow(request, "force", "dry_run", "consistency")
    command = proposals.make(
        request,
        ForgetNode,
        node=_name(request),
        force=query.flag(request, "force"),
        if_index=query.if_match(request),
    )
    return proposals.answer(request, await proposals.submit(request, command))


async def put_maintenance(request: web.Request) -> web.Response:
    """Put a node into maintenance."""
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    body = await parse.read_body(request, parse.MaintenanceBody)
    command = proposals.make(
        request, SetMaintenance, node=_name(request), on=True, reason=body.reason, until=body.until
    )
    return proposals.answer(request, await proposals.submit(request, command))


async def delete_maintenance(request: web.Request) -> web.Response:
    """Take a node out of maintenance."""
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    command = proposals.make(request, SetMaintenance, node=_name(request), on=False)
    return proposals.answer(request, await proposals.submit(request, command))


async def forgive_debt(request: web.Request) -> web.Response:
    """Let a node serve although it owes an upgrade."""
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    body = await parse.read_body(request, parse.CancelBody) if request.can_read_body else parse.CancelBody()
    command = proposals.make(request, ForgiveDebt, node=_name(request), reason=body.reason)
    return proposals.answer(request, await proposals.submit(request, command))


async def replace_node(request: web.Request) -> web.Response:
    """Put another machine in the place of a node; that is a job."""
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    body = await parse.read_body(request, parse.ReplaceBody)
    command = proposals.make(
        request,
        ReplaceNode,
        old=_name(request),
        new=NodeName(body.new),
        reason=body.reason,
        priority=body.priority,
    )
    if query.flag(request, "dry_run"):
        before, after, accepted = await proposals.try_out(request, command)
        return web.json_response(preview(before, after, after.jobs[JobId(accepted.ref)]))
    accepted = await proposals.submit(request, command)
    view = {"id": accepted.ref, "ref": accepted.ref, "index": accepted.index}
    return web.json_response(view, status=202, headers={"Location": f"/v1/jobs/{accepted.ref}"})


async def get_variables(request: web.Request) -> web.Response:
    """Return the variables that verify and its like go by on a node, each with the layer it came from."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    node = _node(state, _name(request))
    bundle = node.bundle or state.current_bundle
    layers = variables.standing(state, node, bundle)
    return web.json_response(
        {
            "node": node.name,
            "role": node.role,
            "bundle": bundle or None,
            "values": variables.resolve(layers),
            "origins": variables.origins(layers),
            "index": state.index,
        }
    )

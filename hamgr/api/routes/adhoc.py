"""One command on many nodes, now: who asked is recorded, then it is run, and answers stream as they come.

1. It is recorded before it is run, and is run once at most for one Idempotency-Key: a repeat is refused.
2. Events: `begin` with the nodes, `node` for each that ended, `end`. A stream without its `end` was cut: of
   the nodes that it did not tell of, nobody knows.
"""

import asyncio
import contextlib
import secrets
from contextlib import aclosing
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from backends.ports import LOOK_TAIL_BYTES
from hamgr.api import parse, proposals, query, sse
from hamgr.api.context import context_of
from hamgr.api.parse import Body, Line, Name
from hamgr.api.problems import Fault, Problem, of_rejected
from hamgr.api.strategies import Duration
from hamgr.jobs.adhoc import NODES_AT_ONCE, Ran
from statemachine.audit_commands import RecordExec
from statemachine.model import TASKS_MAX, State
from statemachine.nodes import inventory, targets
from statemachine.words import EXEC_CHARS_MAX, NodeName

COMMAND_CHARS_MAX = 64 * 1024
OUTPUT_BYTES_MAX = 1024 * 1024
TIMEOUT_S_MAX = 3_600.0


class ExecBody(Body):
    """POST /v1/exec"""

    command: Annotated[str, Field(min_length=1, max_length=COMMAND_CHARS_MAX)]
    nodes: Annotated[list[Name], Field(max_length=TASKS_MAX)] = Field(default=[])
    selector: Line = ""
    timeout: Duration = 60.0
    output_bytes_max: Annotated[int, Field(ge=LOOK_TAIL_BYTES, le=OUTPUT_BYTES_MAX)] = 64 * 1024
    max_parallel: Annotated[int, Field(ge=0, le=NODES_AT_ONCE)] = 0


async def run_command(request: web.Request) -> web.StreamResponse:
    """Run a command on nodes; with `dry_run`, only tell on which."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, ExecBody)
    faults = []
    if not 0 < body.timeout <= TIMEOUT_S_MAX:
        faults.append(Fault(pointer="/timeout", message=f"can be up to {TIMEOUT_S_MAX:g} seconds"))
    if bool(body.nodes) is bool(body.selector):
        faults.append(Fault(pointer="/selector", message="name nodes, or give a selector: one of the two"))
    if faults:
        raise parse.bad_body(faults)
    state = await query.read_state(request)
    nodes = _nodes(state, body)
    if query.flag(request, "dry_run"):
        return web.json_response({"dry_run": True, "nodes": nodes, "index": state.index})
    sse.check_room(request)  # before it is recorded, and so as good as begun
    record = proposals.make(
        request,
        RecordExec,
        run=secrets.token_hex(16),
        command=body.command[:EXEC_CHARS_MAX],
        selector=body.selector[:EXEC_CHARS_MAX],
        nodes=len(nodes),
    )
    await proposals.submit(request, record)
    async with sse.opened(request) as stream:
        await stream.send("begin", {"run": record.run, "nodes": nodes})
        beating = asyncio.create_task(_beat(stream, context_of(request).limits.heartbeat_s))
        ended = context_of(request).adhoc.run(
            state,
            nodes,
            body.command.encode() + b"\n",
            timeout_s=body.timeout,
            output_bytes_max=body.output_bytes_max,
            at_once=body.max_parallel or NODES_AT_ONCE,
        )
        try:
            async with aclosing(ended):
                async for together in ended:
                    await stream.send_all("node", map(_view, together))
            await stream.send("end", {"nodes": len(nodes)})
        finally:
            beating.cancel()
    return stream.response


async def _beat(stream: sse.Stream, every_s: float) -> None:
    """Have the caller know that we live, while commands take their time."""
    with contextlib.suppress(ConnectionError):  # the next answer meets it too
        while True:
            await asyncio.sleep(every_s)
            await stream.heartbeat()


def _nodes(state: State, body: ExecBody) -> list[NodeName]:
    if body.nodes:
        for name in body.nodes:
            if name not in state.nodes:
                raise of_rejected(inventory.no_such_node(NodeName(name)))
        return [NodeName(name) for name in dict.fromkeys(body.nodes)]
    terms = targets.parse(body.selector)
    if isinstance(terms, str):
        raise parse.bad_body([Fault(pointer="/selector", message=terms)])
    found = list(targets.select(state, terms))
    if not found:
        raise Problem(
            "no-targets",
            f"no node matches {body.selector!a}",
            hint="`hamgr node ls` shows what there is",
        )
    return found


def _view(ran: Ran) -> dict[str, Any]:
    return {
        "node": ran.node,
        "exit_code": ran.exit_code,
        "output": ran.output.decode("utf-8", "replace"),
        "truncated": ran.truncated,
        "error": ran.error,
        "unknown": ran.unknown,
        "seconds": round(ran.seconds, 3),
    }

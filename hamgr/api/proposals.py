"""The one way in: a command is proposed, and its outcome becomes an answer or a problem.

With `?dry_run=1` the command is applied to a copy of the state, which is thrown away: the same rules by
the same code, and nothing happens.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from hamgr.api import query
from hamgr.api.auth import ACTOR
from hamgr.api.context import context_of
from hamgr.api.problems import Problem, of_rejected
from hamgr.raft.port import NotCommitted, OutcomeUnknown
from statemachine import machine
from statemachine.codec import CodecError
from statemachine.commands import Command
from statemachine.model import State
from statemachine.outcomes import Accepted, Rejected
from statemachine.words import RequestId

C = TypeVar("C")

AGAIN = "send it again, unchanged and with the same Idempotency-Key; it takes effect once"


def make(request: web.Request, command: Callable[..., C], /, **fields: Any) -> C:
    """Return a new command for the request, stamped with its id, the time and the caller."""
    context = context_of(request)
    dry = query.flag(request, "dry_run")
    request_id = RequestId(context.new_request_id()) if dry else query.command_id(request)
    return command(request_id=request_id, at=context.clock.now(), actor=request[ACTOR], **fields)


async def submit(request: web.Request, command: Command) -> Accepted:
    """Propose `command`, or try it out when the request is a dry run.

    Raises:
        Problem: It was refused, or its outcome could not be known.
    """
    if query.flag(request, "dry_run"):
        return (await try_out(request, command))[2]
    context = context_of(request)
    try:
        outcome = await context.replica.propose(command, timeout_s=context.limits.propose_timeout_s)
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    except CodecError as error:
        raise Problem("bad-body", f"the request cannot be kept in the log: {error}") from error
    if isinstance(outcome, Rejected):
        raise of_rejected(outcome)
    return outcome


async def try_out(request: web.Request, command: Command) -> tuple[State, State, Accepted]:
    """Return the state as it is and as it would be after `command`; nothing is changed.

    Raises:
        Problem: It would be refused.
    """
    before = await query.read_state(request)
    after, outcome = machine.apply(before, command)
    if isinstance(outcome, Rejected):
        raise of_rejected(outcome)
    return before, after, outcome


def answer(
    request: web.Request, accepted: Accepted, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return the answer to a command that took effect (or would have)."""
    if query.flag(request, "dry_run"):
        return web.json_response({"dry_run": True, "ref": accepted.ref})
    body = {"ref": accepted.ref, "index": accepted.index}
    return web.json_response(body, status=status, headers=headers)

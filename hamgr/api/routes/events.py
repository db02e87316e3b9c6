"""Events: a list, or a stream that any replica takes up where another one left off.

1. An event's cursor, `INDEX.PART`, is the same on every replica, and rises.
2. A stream sends every event after the cursor once, in order, or says `expired-cursor`.
3. A reader without a cursor gets everything that is kept; with `since=now`, only what is new.
"""

import asyncio
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

from aiohttp import web

from hamgr.api import query, sse, views
from hamgr.api.context import context_of
from hamgr.api.problems import Problem
from statemachine.model import EVENTS_MAX, Event, State

Cursor: TypeAlias = tuple[int, int]
_FORM = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?\Z")
_BEFORE_ALL: Cursor = (-1, -1)


async def get_events(request: web.Request) -> web.StreamResponse:
    """Stream the events after the caller's cursor, or list them with `follow=0`."""
    query.allow(request, "since", "follow", "limit", "consistency")
    limit = query.number(request, "limit", default=EVENTS_MAX, low=1, high=EVENTS_MAX)
    text = request.headers.get("Last-Event-ID") or request.query.get("since", "")
    if not query.flag(request, "follow", default=True):
        state = await query.read_state(request)
        found = after(state, parse_cursor(text, state))
        page = found[:limit] if text else found[-limit:]
        following = page[-1] if page else None
        if following is not None:
            cursor = f"{following.index}.{following.part}"
        else:
            cursor = text if text not in ("", "now") else _mark(newest(state))
        items = [views.event(event) for event in page]
        return web.json_response({"items": items, "next": cursor, "index": state.index})
    state = context_of(request).replica.state
    cursor_at = parse_cursor(text, state)
    after(state, cursor_at)  # a cursor that is too old is answered with a status, while that is possible
    async with sse.opened(request) as stream:
        await _follow(request, stream, cursor_at)
    return stream.response


async def _follow(request: web.Request, stream: sse.Stream, cursor: Cursor) -> None:
    replica = context_of(request).replica
    heartbeat_s = context_of(request).limits.heartbeat_s
    if cursor != _BEFORE_ALL:
        await stream.send("bookmark", {"index": cursor[0]}, cursor=_mark(cursor))
    while True:
        version = replica.version
        try:
            found = after(replica.state, cursor)
        except Problem as problem:
            await stream.send("problem", problem.view(""))
            return
        for event in found:
            cursor = (event.index, event.part)
            await stream.send(event.kind, views.event(event), cursor=_mark(cursor))
        try:
            async with asyncio.timeout(heartbeat_s):
                await replica.changed(version)
        except TimeoutError:
            await stream.heartbeat()


def parse_cursor(text: str, state: State) -> Cursor:
    """Return the place that `text` names: `INDEX.PART`, `INDEX` (all of it), `now`, or "" for the start."""
    if not text:
        return _BEFORE_ALL
    if text == "now":
        return newest(state)
    found = _FORM.match(text)
    if found is None:
        raise Problem("bad-query", f"{text[:100]!a} is not a cursor; it is `INDEX.PART` of an event, or now")
    return int(found[1]), int(found[2]) if found[2] is not None else 10**9


def newest(state: State) -> Cursor:
    """Return the cursor after which everything is still to come."""
    last = state.events[-1] if state.events else None
    return (last.index, last.part) if last and last.index == state.index else (state.index, 0)


def after(state: State, cursor: Cursor) -> Sequence[Event]:
    """Return the events after `cursor` that this replica has applied.

    Raises:
        Problem: `expired-cursor`, when one of them may be gone.
    """
    gone = state.event_base > 0 and cursor[0] <= state.event_base and not _joins(state, cursor)
    if gone and cursor != _BEFORE_ALL:
        oldest = _mark((state.events[0].index, state.events[0].part)) if state.events else "none"
        raise Problem(
            "expired-cursor",
            f"events after {_mark(cursor)} are gone; the oldest that is kept is {oldest}",
            hint="read the state anew, then follow with ?since=now",
        )
    return state.events[bisect_right(state.events, cursor, key=lambda event: (event.index, event.part)) :]


def _joins(state: State, cursor: Cursor) -> bool:
    """Return whether the oldest event that is kept is the next one after `cursor`, or before it."""
    if not state.events or cursor[0] < state.event_base:
        return False
    first = state.events[0]
    return first.index == cursor[0] and first.part <= cursor[1] + 1


def _mark(cursor: Cursor) -> str:
    return f"{cursor[0]}.{cursor[1]}"

"""Server-sent events from whichever replica answers, without loss or repetition across a failover.

The reader remembers the last id, and asks the next server to go on after it. `comments` are how it knows
that a silent stream lives: a server that says nothing for `SILENCE_S` is taken for dead.
"""

import http.client
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cli.client import ANSWER_BYTES_MAX, ROUND_PAUSE_S, Client, reason_of
from cli.exits import ApiError, CliError, Exit
from cli.settings import TRY_TIMEOUT_S

SILENCE_S = 40.0
LINE_BYTES_MAX = ANSWER_BYTES_MAX
"""A plan of many nodes comes in one line."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream."""

    kind: str
    id: str
    data: Any


def follow(
    client: Client,
    path: str,
    query: dict[str, str],
    *,
    last_id: str = "",
    body: dict[str, Any] | None = None,
) -> Iterator[Message]:
    """Yield a stream's events, from one server after the other, until it ends with `end` or `problem`.

    Args:
        body: Sent to each server, where it is one that changes nothing when it is sent again.

    Raises:
        ApiError: A server refused the stream.
        CliError: No server could be reached for the client's `timeout_s`.
    """
    deadline = time.monotonic() + client.timeout_s
    while True:
        for server in client.candidates():
            begun = False
            try:
                for message in _read(client, server, path, query, last_id, body=body):
                    begun = True
                    deadline = time.monotonic() + client.timeout_s
                    last_id = message.id or last_id
                    if message.kind == "bookmark":
                        continue
                    yield message
                    if message.kind == "end":
                        return
                why = CliError(Exit.UNREACHABLE, "the stream was cut")
            except ApiError as error:
                if not error.retryable or (begun and body is not None):  # else for as long as it is so
                    raise
                why = error
            except (OSError, http.client.HTTPException) as error:
                why = CliError(Exit.UNREACHABLE, reason_of(error))
            client.passed_over(server, why)
        if time.monotonic() > deadline:
            raise CliError(Exit.UNREACHABLE, "no server answered", hint="name running replicas with --server")
        time.sleep(ROUND_PAUSE_S)


def once(client: Client, path: str, body: dict[str, Any]) -> Iterator[Message]:
    """Send `body` and yield the events of the stream that answers; one that was cut is not taken up again.

    Every try bears the same key, and a server that begins has it taken: what was begun is begun once.

    Raises:
        ApiError: It was refused.
        CliError: `UNREACHABLE`: nobody has begun. `TIMEOUT`: it was begun, and nobody knows its end.
    """
    key, lost = uuid.uuid4().hex, False
    deadline = time.monotonic() + client.timeout_s
    while True:
        for server in client.candidates():
            begun = False
            try:
                for message in _read(client, server, path, {}, "", body=body, key=key):
                    begun = True
                    yield message
                    if message.kind == "end":
                        return
                why = CliError(Exit.TIMEOUT, "the stream was cut")
            except ApiError as error:
                if lost and error.problem_code == "request-reused":
                    raise CliError(Exit.TIMEOUT, "it was begun, and its answers were lost") from error
                if not error.retryable:
                    raise
                why = error
            except (OSError, http.client.HTTPException) as error:
                why = CliError(Exit.TIMEOUT, reason_of(error))
                lost = True
            if begun:
                raise CliError(Exit.TIMEOUT, f"{server} was lost: {why.message}")
            client.passed_over(server, why)
        if time.monotonic() > deadline:
            raise CliError(Exit.UNREACHABLE, "no server answered", hint="name running replicas with --server")
        time.sleep(ROUND_PAUSE_S)


def _read(
    client: Client,
    server: str,
    path: str,
    query: dict[str, str],
    last_id: str,
    *,
    body: dict[str, Any] | None = None,
    key: str = "",
) -> Iterator[Message]:
    connection = client.connect(server, TRY_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {client.token}", "Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        if body is None:
            connection.request("GET", target, headers=headers)
        else:
            headers |= {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
            connection.request("POST", target, body=json.dumps(body).encode(), headers=headers)
        response = connection.getresponse()
        client.learn(server, {key.lower(): value for key, value in response.getheaders()})
        if response.status != 200:
            raise ApiError(response.status, _problem(response.read(LINE_BYTES_MAX)))
        if connection.sock is not None:
            connection.sock.settimeout(SILENCE_S)
        yield from _messages(response)
    finally:
        connection.close()


def _problem(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _messages(response: http.client.HTTPResponse) -> Iterator[Message]:
    """Yield the events of one connection; an event counts when its blank line has come, not before."""
    kind, mark, data = "message", "", ""
    while line := response.readline(LINE_BYTES_MAX):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            if kind == "problem" and data:
                found = _problem(data.encode())
                raise ApiError(int(found.get("status", 500)), found)
            if data:
                yield _message(kind, mark, data)
            kind, mark, data = "message", "", ""
            continue
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            mark = value
        elif name == "data":
            data += value


def _message(kind: str, mark: str, data: str) -> Message:
    try:
        return Message(kind, mark, json.loads(data))
    except ValueError as error:
        raise http.client.HTTPException("the stream is not ours") from error

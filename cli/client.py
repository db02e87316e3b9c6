"""Asking replicas: any that answers will do, and a failover in between is no error.

1. A request goes to one server after the other, round after round, until one answers or `timeout_s` is over.
2. Every request that changes something carries one Idempotency-Key, the same in each try, so that a server
   that dies between taking and answering costs a second try and never a second effect.
3. Replicas tell each other's addresses; they are remembered for the day when the given one is down. A
   server that was asked over TLS cannot send us, and our token, to one without.
"""

import contextlib
import http.client
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from cli import secure
from cli.exits import ApiError, CliError, Exit
from cli.settings import TRY_TIMEOUT_S

ROUND_PAUSE_S = 0.3
ANSWER_BYTES_MAX = 64 * 1024 * 1024
PEERS_MAX = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; `data` is the decoded JSON, or the bytes of anything else."""

    status: int
    headers: Mapping[str, str]
    data: Any


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent, the same to every server."""

    method: str
    target: str
    payload: bytes | None
    headers: dict[str, str]


@dataclass(slots=True)
class Client:
    """Talks to one cluster.

    Attributes:
        notice: Told at most once per client, in one line, that a server had to be passed over.
        peers_file: Where the replicas' addresses are remembered.
    """

    servers: tuple[str, ...]
    token: str
    timeout_s: float
    notice: Callable[[str], None] = lambda _text: None
    peers_file: Path | None = None
    _first: str = ""
    _learned: list[str] = field(default_factory=list)
    _open: dict[str, http.client.HTTPConnection] = field(default_factory=dict)
    _noticed: bool = False

    def get(self, path: str, **query: Any) -> Any:
        """Return what is at `path`."""
        return self.call("GET", path, query=query).data

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        try_timeout_s: float = TRY_TIMEOUT_S,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send a request until a server answers it.

        Args:
            body: Sent as JSON; or
            data: sent as it is.
            timeout_s: For all tries together; the client's own when left out.

        Raises:
            ApiError: A server answered with a problem that trying again would not solve.
            CliError: No server answered in time.
        """
        target = _target(path, query)
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if method not in ("GET", "HEAD"):
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        payload = data
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            failures: dict[str, CliError] = {}
            for server in self.candidates():
                left_s = deadline - time.monotonic()
                if failures and left_s <= 0:
                    break
                limit_s = min(try_timeout_s, max(left_s, 0.1))
                outcome = self._try(server, _Request(method, target, payload, sent), limit_s)
                if isinstance(outcome, Answer):
                    self._first = server
                    return outcome
                failures[server] = outcome
                self.passed_over(server, outcome)
            if time.monotonic() + ROUND_PAUSE_S >= deadline:
                raise _best(failures, self.timeout_s if timeout_s is None else timeout_s)
            time.sleep(ROUND_PAUSE_S)

    def candidates(self) -> list[str]:
        """Return the servers to try: the one that answered last, those that were given, those learned."""
        if not self._learned and self.peers_file is not None:
            self._learned = _remembered(self.peers_file, self.servers)
        first = [self._first] if self._first else []
        return list(dict.fromkeys([*first, *self.servers, *self._learned]))

    def passed_over(self, server: str, why: CliError) -> None:
        """Say once that another server has to be asked."""
        if not self._noticed:
            self._noticed = True
            self.notice(f"{server}: {why.message}; trying on for up to {self.timeout_s:.0f} s")

    def _try(self, server: str, request: _Request, timeout_s: float) -> Answer | CliError:
        """Return the answer, or why another server should be asked; raise what no server will change."""
        kept = server in self._open
        try:
            try:
                answer = self._once(server, request, timeout_s)
            except (ConnectionError, http.client.RemoteDisconnected, http.client.BadStatusLine):
                if not kept:
                    raise
                self.drop(server)  # the server closed a connection that lay idle; that is no failure of its
                answer = self._once(server, request, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.drop(server)
            return CliError(Exit.UNREACHABLE, reason_of(error))
        if answer.status < 400:
            return answer
        problem = answer.data if isinstance(answer.data, dict) else {}
        failure = ApiError(answer.status, problem)
        if not failure.retryable:
            raise failure
        return failure

    def _once(self, server: str, request: _Request, timeout_s: float) -> Answer:
        connection = self._open.get(server) or self.connect(server, timeout_s)
        self._open[server] = connection
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        connection.timeout = timeout_s
        connection.request(request.method, request.target, body=request.payload, headers=request.headers)
        response = connection.getresponse()
        data = response.read(ANSWER_BYTES_MAX)
        found = {key.lower(): value for key, value in response.getheaders()}
        self.learn(server, found)
        if response.will_close:
            self.drop(server)
        kind = found.get("content-type", "").partition(";")[0]
        if kind.endswith("json"):
            try:
                return Answer(response.status, found, json.loads(data))
            except ValueError as error:
                raise http.client.HTTPException("the answer is not JSON") from error
        return Answer(response.status, found, data)

    def connect(self, server: str, timeout_s: float) -> http.client.HTTPConnection:
        """Return a connection to `server` that is opened by its first request."""
        parts = urlsplit(server)
        if parts.scheme == "https":
            return secure.connection(parts.netloc, timeout_s)
        return http.client.HTTPConnection(parts.netloc, timeout=timeout_s)

    def drop(self, server: str) -> None:
        """Close the connection to `server`, if there is one."""
        connection = self._open.pop(server, None)
        if connection is not None:
            connection.close()

    def learn(self, server: str, headers: Mapping[str, str]) -> None:
        """Remember the replicas that a server names in its answer."""
        if "x-hamgr-peers" not in headers:
            return
        scheme = urlsplit(server).scheme
        found = [url for url in headers["x-hamgr-peers"].split(",") if urlsplit(url).scheme == scheme]
        found = [server, *found][:PEERS_MAX]
        if set(found) - set(self._learned):
            self._learned = list(dict.fromkeys([*found, *self._learned]))[:PEERS_MAX]
            if self.peers_file is not None:
                _remember(self.peers_file, self.servers, self._learned)

    def close(self) -> None:
        """Close all connections."""
        for server in list(self._open):
            self.drop(server)


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    wanted = {key: value for key, value in (query or {}).items() if value not in (None, "", False)}
    plain = {key: "1" if value is True else str(value) for key, value in wanted.items()}
    return f"{path}?{urlencode(plain)}" if plain else path


def reason_of(error: Exception) -> str:
    """Return why a server could not be used, in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return (
        "the connection was closed before an answer"
        if isinstance(error, http.client.HTTPException)
        else str(error)
    )


def _best(failures: Mapping[str, CliError], timeout_s: float) -> CliError:
    """Return the failure that says most: what a replica answered tells more than one that is down."""
    for failure in failures.values():
        if isinstance(failure, ApiError) and failure.code is Exit.TIMEOUT:
            hint = (
                "it may still have been taken: look with `hamgr job ls` or `hamgr events`, then send it again"
            )
            return CliError(Exit.TIMEOUT, f"{failure.message} (tried for {timeout_s:.0f} s)", hint=hint)
    for failure in failures.values():
        if isinstance(failure, ApiError):
            return failure
    tried = "; ".join(f"{server}: {failure.message}" for server, failure in failures.items())
    return CliError(
        Exit.UNREACHABLE,
        f"no server answered: {tried}",
        hint="name running replicas with --server URL or HAMGR_ADDR=URL,URL",
    )


def _remembered(path: Path, servers: tuple[str, ...]) -> list[str]:
    schemes = {urlsplit(server).scheme for server in servers}
    try:
        known = json.loads(path.read_bytes()).get(",".join(servers), [])
        return [url for url in known if isinstance(url, str) and urlsplit(url).scheme in schemes][:PEERS_MAX]
    except (OSError, ValueError, AttributeError):
        return []


def _remember(path: Path, servers: tuple[str, ...], found: list[str]) -> None:
    """Write atomically; a cache that cannot be written is none."""
    with contextlib.suppress(OSError):
        try:
            known = json.loads(path.read_bytes())
        except (OSError, ValueError):
            known = {}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({**(known if isinstance(known, dict) else {}), ",".join(servers): found}))
        fresh.replace(path)

"""What the other replicas tell: whether they are reached, their versions, clocks and addresses."""

import email.utils
import http.client
import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from hamgr import tokens
from hamgr.config import Config, api_url
from hamgr.doctor.findings import Finding, fail, ok, warn
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart

TIMEOUT_S = 3.0
CLOCK_WARN_S, CLOCK_FAIL_S = 5.0, 60.0
"""The header Date has whole seconds, and hosts may be busy: below this nothing can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another replica, as this one knows it."""

    name: str
    raft: str
    api: str


def others(settings: Config) -> list[Other]:
    """Return the other replicas: as this one says when it runs, else as its configuration has them."""
    try:
        said, _ = _get(settings, api_url(settings.api), "/v1/replicas?consistency=stale")
        items = [item for item in said["items"] if item["name"] != settings.name]
        return [Other(name=item["name"], raft=item["raft"], api=item["api"] or "") for item in items]
    except (OSError, http.client.HTTPException, ValueError, KeyError, CannotStart):
        known = settings.others.items()
        return [Other(name=name, raft=peer.raft, api=api_url(peer.api)) for name, peer in known]


def runs(settings: Config) -> bool:
    """Return whether this very replica runs."""
    try:
        return bool(_get(settings, api_url(settings.api), "/v1/replica")[0].get("name") == settings.name)
    except (OSError, http.client.HTTPException, ValueError, CannotStart):
        return False


def findings(settings: Config, known: Sequence[Other]) -> Iterator[Finding]:
    """Look at each of the other replicas."""
    if not known:
        yield warn(
            "replicas", "this is the only one: its loss is that of the cluster", "hamgr replica add HOST"
        )
    for other in known:
        yield from _one(settings, other)


def _one(settings: Config, other: Other) -> Iterator[Finding]:
    if other.raft == settings.raft:
        yield fail(other.name, f"it has this replica's address {other.raft}", "give each replica its own")
        return
    host, _, port = other.raft.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S).close()
    except OSError as error:
        way_out = "see whether it runs, and the firewall in both directions"
        yield fail(other.name, f"{other.raft} is not reached: {error.strerror or error}", way_out)
        return
    try:
        said, seconds = _get(settings, other.api, "/v1/replica")
    except (OSError, http.client.HTTPException, ValueError, CannotStart) as error:
        yield fail(other.name, f"{other.api} gives no answer: {error}", "see its log, and its token file")
        return
    ours, theirs = version("hamgr"), said.get("version")
    if theirs != ours:
        yield warn(other.name, f"it runs hamgr {theirs}, and this one {ours}", "finish the upgrade")
    if abs(seconds) > CLOCK_WARN_S:
        way_out = "see whether both hosts keep time: timedatectl"
        tell = fail if abs(seconds) > CLOCK_FAIL_S else warn
        yield tell(other.name, f"its clock is {seconds:+.0f} s from this one's", way_out)
    elif theirs == ours:
        yield ok(other.name, f"{other.raft} and {other.api} are reached; its clock and version fit")


def _get(settings: Config, url: str, path: str) -> tuple[dict[str, Any], float]:
    """Return the answer of a replica, and how far its clock is ahead, in seconds."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = credentials_of(settings).client_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    token = tokens.load(settings.token_file)[0].secret
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {said.get('detail', 'no answer that could be used')}")
        date = answer.headers.get("Date")
        ahead_s = email.utils.parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
        return said, ahead_s
    finally:
        connection.close()

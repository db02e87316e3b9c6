"""Everything that can go wrong, in one table, as RFC 9457 problems.

1. `code` is stable and for programs; `detail` is one sentence for people, `hint` the way out.
2. `retryable` means: the very same request, with the same Idempotency-Key, may succeed later.
3. No other file of this room chooses an error's status.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from statemachine.outcomes import Reason, Rejected

CONTENT_TYPE = "application/problem+json"

STATUS_OF: dict[Reason, int] = {
    Reason.NO_SUCH_NODE: 404,
    Reason.NO_SUCH_JOB: 404,
    Reason.NO_SUCH_ROLE: 404,
    Reason.NO_SUCH_BUNDLE: 404,
    Reason.NO_TARGETS: 404,
    Reason.INVALID: 422,
    Reason.WRONG_STATUS: 409,
    Reason.UNREACHABLE: 409,
    Reason.BUSY: 409,
    Reason.IN_MAINTENANCE: 409,
    Reason.REQUIREMENT: 409,
    Reason.IDENTITY: 409,
    Reason.FORGOTTEN: 409,
    Reason.STALE_CLAIM: 409,
    Reason.CHANGED: 412,
    Reason.REQUEST_REUSED: 422,
    Reason.LIMIT: 409,
    Reason.NO_SUCH_PLAN: 404,
    Reason.NO_SUCH_SCHEDULE: 404,
    Reason.NO_SUCH_TOKEN: 404,
    Reason.NOT_APPROVED: 409,
    Reason.NOT_ALLOWED: 403,
    Reason.INTERNAL: 500,
}
TITLE_OF: dict[Reason, str] = {
    Reason.NO_SUCH_NODE: "No such node",
    Reason.NO_SUCH_JOB: "No such job",
    Reason.NO_SUCH_ROLE: "No such role",
    Reason.NO_SUCH_BUNDLE: "No such bundle",
    Reason.NO_TARGETS: "No nodes to work on",
    Reason.INVALID: "A value that cannot be accepted",
    Reason.WRONG_STATUS: "Not possible in this status",
    Reason.UNREACHABLE: "The node cannot be reached",
    Reason.BUSY: "Held by another job",
    Reason.IN_MAINTENANCE: "In maintenance",
    Reason.REQUIREMENT: "A role would be left without what it requires",
    Reason.IDENTITY: "Belongs to another machine",
    Reason.FORGOTTEN: "The machine was forgotten",
    Reason.STALE_CLAIM: "Somebody else went on",
    Reason.CHANGED: "Changed in the meantime",
    Reason.REQUEST_REUSED: "The Idempotency-Key was used for something else",
    Reason.LIMIT: "A limit was reached",
    Reason.NO_SUCH_PLAN: "No such plan",
    Reason.NO_SUCH_SCHEDULE: "No such schedule",
    Reason.NO_SUCH_TOKEN: "No such join token",
    Reason.NOT_APPROVED: "The plan is not approved",
    Reason.NOT_ALLOWED: "Not by you",
    Reason.INTERNAL: "A bug in hamgr",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table."""

    status: int
    title: str
    retryable: bool = False
    retry_after_s: int | None = None


KINDS: dict[str, Kind] = {reason.value: Kind(STATUS_OF[reason], TITLE_OF[reason]) for reason in Reason} | {
    "bad-json": Kind(400, "The body is not JSON"),
    "bad-request": Kind(400, "The request cannot be understood"),
    "bad-query": Kind(400, "A query parameter cannot be used"),
    "bad-header": Kind(400, "A header cannot be used"),
    "unauthorized": Kind(401, "Who are you?"),
    "no-such-route": Kind(404, "No such resource"),
    "no-such-replica": Kind(404, "No such replica"),
    "no-authority": Kind(409, "This cluster's certificates are made by hand"),
    "too-many-tries": Kind(429, "Too many tries", retry_after_s=10),
    "no-vip": Kind(404, "No virtual address is configured"),
    "no-mdns": Kind(404, "This replica does not speak multicast DNS"),
    "no-fencing": Kind(404, "This replica has no fencing command"),
    "no-backups": Kind(404, "This replica makes no backups"),
    "backup-failed": Kind(500, "No backup was made that could be relied on"),
    "no-such-blob": Kind(404, "This replica has no such blob"),
    "wrong-method": Kind(405, "Not with this method"),
    "slow-body": Kind(408, "The body came too slowly"),
    "replica-exists": Kind(409, "Another replica has this name, id or address"),
    "change-refused": Kind(409, "The members cannot be changed so"),
    "quorum-at-risk": Kind(409, "No majority would be left"),
    "expired-cursor": Kind(410, "Older events are gone"),
    "too-large": Kind(413, "The body is too large"),
    "wrong-type": Kind(415, "Another content type is needed"),
    "bad-body": Kind(422, "The body has values that cannot be used"),
    "bundle-invalid": Kind(422, "The bundle has problems"),
    "wrong-digest": Kind(422, "The bytes are not what their name says"),
    "internal": Kind(500, "A bug in hamgr"),
    "no-leader": Kind(503, "No leader", retryable=True, retry_after_s=1),
    "not-leader": Kind(503, "This replica does not lead", retryable=True, retry_after_s=1),
    "not-ready": Kind(503, "This replica cannot work now", retryable=True, retry_after_s=2),
    "not-committed": Kind(503, "Not taken into the log", retryable=True, retry_after_s=1),
    "not-stored": Kind(503, "Too few replicas stored the bytes", retryable=True, retry_after_s=2),
    "store-unusable": Kind(503, "The replica's store cannot be used", retryable=True, retry_after_s=5),
    "too-many-announcements": Kind(429, "Too many announcements", retryable=True, retry_after_s=5),
    "too-many-streams": Kind(503, "Too many streams are open", retryable=True, retry_after_s=5),
    "outcome-unknown": Kind(504, "Nobody knows yet", retryable=True, retry_after_s=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One of several things that are wrong with a body or a bundle; what is not known is left empty."""

    message: str
    pointer: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def view(self) -> dict[str, Any]:
        fields = ("file", "line", "column", "pointer", "message", "hint")
        return {name: getattr(self, name) for name in fields if getattr(self, name)}


class Problem(Exception):
    """An answer that is an error; `code` is a key of `KINDS`."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        hint: str = "",
        offenders: Iterable[str] = (),
        errors: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.hint = hint
        self.offenders = tuple(offenders)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def view(self, request_id: str) -> dict[str, Any]:
        """Return the problem as RFC 9457 has it, with our extensions."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.code,
            "offenders": list(self.offenders),
            "hint": self.hint,
            "request_id": request_id,
            "retryable": self.kind.retryable,
            "errors": [fault.view() for fault in self.errors],
        }

    def response(self, request_id: str) -> web.Response:
        """Return the problem as an answer."""
        headers = dict(self.headers)
        if self.kind.retry_after_s is not None:
            headers["Retry-After"] = str(self.kind.retry_after_s)
        body = json.dumps(self.view(request_id)).encode()
        return web.Response(status=self.kind.status, body=body, content_type=CONTENT_TYPE, headers=headers)


def of_rejected(rejected: Rejected) -> Problem:
    """Return the problem that a refusal of the state machine is."""
    return Problem(rejected.reason.value, rejected.message, hint=rejected.hint, offenders=rejected.offenders)

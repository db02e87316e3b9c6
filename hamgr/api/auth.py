"""Who calls: a bearer token, compared without telling by timing how much of it, or whose, was right."""

import hashlib
import hmac

from aiohttp import web

from hamgr.api.context import context_of
from hamgr.api.problems import Problem

ACTOR: web.RequestKey[str] = web.RequestKey("actor", str)
"""The identity that goes into the commands that a request becomes."""
TOKEN_CHARS_MAX = 512
OPEN_PATHS = frozenset({"/livez", "/readyz", "/v1/health/leader", "/v1/join", "/v1/announce"})
"""Asked by load balancers, service managers, and machines that join; they tell nothing about the fleet."""


def check(request: web.Request) -> None:
    """Let the request pass and remember whose it is, or raise the problem `unauthorized`."""
    if request.path in OPEN_PATHS or request.path.startswith("/problems/"):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = hashlib.sha256(token.strip()[:TOKEN_CHARS_MAX].encode("utf-8", "surrogateescape")).digest()
    actor = ""
    for digest, name in context_of(request).actors.items():
        if hmac.compare_digest(given, digest):
            actor = name  # and on to the last one
    if scheme.lower() != "bearer" or not actor:
        raise Problem(
            "unauthorized",
            "the token is missing or is not one of this cluster's",
            hint="send `Authorization: Bearer TOKEN`; the CLI reads it from HAMGR_TOKEN_FILE or --token-file",
            headers={"WWW-Authenticate": 'Bearer realm="hamgr"'},
        )
    request[ACTOR] = actor

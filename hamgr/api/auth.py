"""Who may call: a bearer token, compared without telling by timing how much of it was right."""

import hashlib
import hmac

from aiohttp import web

from hamgr.api.context import context_of
from hamgr.api.problems import Problem

ACTOR = "operator"
"""The identity of whoever holds the token."""
TOKEN_CHARS_MAX = 512
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Asked by load balancers and service managers; they tell nothing about the fleet."""


def check(request: web.Request) -> None:
    """Let the request pass, or raise the problem `unauthorized`."""
    if request.path in OPEN_PATHS or request.path.startswith("/problems/"):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = hashlib.sha256(token.strip()[:TOKEN_CHARS_MAX].encode("utf-8", "surrogateescape")).digest()
    right = hmac.compare_digest(given, context_of(request).token_sha256)
    if scheme.lower() != "bearer" or not right:
        raise Problem(
            "unauthorized",
            "the token is missing or is not one of this cluster's",
            hint="send `Authorization: Bearer TOKEN`; the CLI reads it from HAMGR_TOKEN_FILE or --token-file",
            headers={"WWW-Authenticate": 'Bearer realm="hamgr"'},
        )

"""What a machine that joins says to the cluster, and how it knows that it is the right one.

1. Before anything is told, the cluster proves that it is the one of the token: its authority's certificate
   has the fingerprint of the token, and whoever is talked to has a replica's certificate of that authority.
2. Without TLS nothing is said but on this machine itself (loopback).
"""

import http.client
import ipaddress
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from hamgr.bootstrap.places import CannotBegin

TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 1024 * 1024


class NoAnswer(Exception):
    """This replica gave no answer, or one that another may give better; the message says why."""


def find(urls: Sequence[str], authority: str) -> tuple[str, str]:
    """Return the first replica that proves to be of the cluster, and the authority's certificate (PEM).

    Raises:
        CannotBegin: None does; the message names all of them.
    """
    failures = []
    for url in urls:
        try:
            said = _call(url, "GET", "/v1/join", None, _context(None))
            pem = str(said.get("authority", ""))
            found = fingerprint(pem)
        except (NoAnswer, ValueError) as error:
            failures.append(f"{url}: {error}")
            continue
        if found != authority:
            failures.append(f"{url}: it is another cluster than the token's")
            continue
        try:
            _call(url, "GET", "/livez", None, _context(pem))
        except NoAnswer as error:
            failures.append(f"{url}: it has no certificate of the cluster: {error}")
            continue
        return url, pem
    raise CannotBegin(
        f"no replica of the cluster can be reached ({'; '.join(failures)}); look at the network"
    )


def fingerprint(ca_pem: str) -> str:
    """Return the SHA-256 of a certificate, in hexadecimal; raises `ValueError` when it is none."""
    return x509.load_pem_x509_certificate(ca_pem.encode()).fingerprint(hashes.SHA256()).hex()


def post_join(url: str, ca_pem: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Redeem the token.

    Raises:
        CannotBegin: The cluster refused, in its own words.
        NoAnswer: It may have, or not; the same body can be sent again.
    """
    return _call(url, "POST", "/v1/join", body, _context(ca_pem))


def put_replica(url: str, ca_pem: str, token: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a vote; errors as `post_join`."""
    return _call(url, "PUT", f"/v1/replicas/{quote(name, safe='')}", body, _context(ca_pem), token)


def get_replicas(url: str, ca_pem: str, token: str) -> dict[str, Any]:
    """Return the members; errors as `post_join`."""
    return _call(url, "GET", "/v1/replicas", None, _context(ca_pem), token)


def _context(ca_pem: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    if ca_pem is None:
        context.verify_mode = (
            ssl.CERT_NONE
        )  # only the authority's certificate is asked for, and then compared
    else:
        context.load_verify_locations(cadata=ca_pem)
    return context


def _call(
    url: str, method: str, path: str, body: Mapping[str, Any] | None, context: ssl.SSLContext, token: str = ""
) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise NoAnswer("it is asked without TLS, which is only safe on one machine")
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    try:
        connection.request(method, path, body=data, headers=headers)
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX)
        said = json.loads(text) if "json" in response.headers.get("Content-Type", "") else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if response.status >= 500 or response.status == 429:
        raise NoAnswer(_sentence(said, response.status))
    if response.status >= 400:
        raise CannotBegin(_sentence(said, response.status))
    return said if isinstance(said, dict) else {}


def _sentence(said: Any, status: int) -> str:
    problem = said if isinstance(said, dict) else {}
    hint = problem.get("hint")
    detail = problem.get("detail") or problem.get("title") or f"status {status}"
    return f"{detail}; {hint}" if hint else str(detail)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

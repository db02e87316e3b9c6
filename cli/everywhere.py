"""The same question to each replica, in turn, since each answers for itself alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from cli.exits import CliError
from cli.options import client, settings

CONNECT_S = 3.0
"""For a replica that does not answer at all."""


def each(method: str, path: str, *, timeout_s: float) -> Iterator[tuple[str, Mapping[str, Any] | CliError]]:
    """Yield each replica's name with its answer, or with why there is none."""
    from cli.client import Client  # noqa: PLC0415 - HTTP costs 40 ms, which --help is not worth

    token = settings().token()
    for one in client().get("/v1/replicas", consistency="stale")["items"]:
        alone = Client(servers=(str(one["api"] or ""),), token=token, timeout_s=CONNECT_S)
        try:
            yield str(one["name"]), alone.call(method, path, try_timeout_s=timeout_s).data
        except CliError as error:
            yield str(one["name"]), error
        finally:
            alone.close()

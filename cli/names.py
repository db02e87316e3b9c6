"""Names for shell completion, from a cache of 5 seconds: fast, and silent when anything goes wrong."""

import contextlib
import json
import os
import time
from typing import Any

import click
from click.shell_completion import CompletionItem

from cli.exits import CliError
from cli.settings import Settings, cache_home

CACHE_S = 5.0
FETCH_TIMEOUT_S = 1.0
NAMES_MAX = 2_000


def nodes(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a node's name."""
    return _complete(ctx, "nodes", "/v1/nodes?consistency=stale&limit=1000", "name", incomplete)


def jobs(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a job's id."""
    return _complete(ctx, "jobs", "/v1/jobs?consistency=stale&limit=100", "id", incomplete)


def replicas(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a replica's name."""
    return _complete(ctx, "replicas", "/v1/replicas?consistency=stale", "name", incomplete)


def plans(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a plan's hash."""
    return _complete(ctx, "plans", "/v1/plans?consistency=stale", "hash", incomplete)


def digests(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a bundle's digest."""
    return _complete(ctx, "bundles", "/v1/bundles?consistency=stale", "digest", incomplete)


def _complete(ctx: click.Context, noun: str, path: str, key: str, incomplete: str) -> list[CompletionItem]:
    found = [name for name in _names(ctx, noun, path, key) if name.startswith(incomplete)]
    return [CompletionItem(name) for name in found[:NAMES_MAX]]


def _names(ctx: click.Context, noun: str, path: str, key: str) -> list[str]:
    from cli.client import Client  # noqa: PLC0415 - 50 ms that only a stale cache is worth

    ours = ctx.find_root().ensure_object(Settings)
    try:
        servers = ours.urls()
    except CliError:
        return []
    file = cache_home() / "names.json"
    mark = f"{noun} {','.join(servers)}"
    cache: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        cache = json.loads(file.read_bytes())
    at, known = cache.get(mark, (0.0, []))
    if 0 <= time.time() - at < CACHE_S:
        return list(known)
    try:
        client = Client(servers=servers, token=ours.token(), timeout_s=FETCH_TIMEOUT_S)
        items = client.call("GET", path, try_timeout_s=FETCH_TIMEOUT_S).data["items"]
        known = [item[key] for item in items]
    except (CliError, KeyError, TypeError):
        return list(known)
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({**cache, mark: (time.time(), known)}))
        fresh.replace(file)
    return list(known)

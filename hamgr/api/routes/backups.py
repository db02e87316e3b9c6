"""Backups that this replica has made; and one more, now."""

import asyncio

from aiohttp import web

from hamgr.api import query
from hamgr.api.context import Backups, context_of
from hamgr.api.problems import Problem
from hamgr.backup.service import BackupFailed, line


async def list_backups(request: web.Request) -> web.Response:
    """Return the backups in this replica's directory, the newest first."""
    query.allow(request)
    return web.json_response(await asyncio.to_thread(_backups(request).view))


async def make_backup(request: web.Request) -> web.Response:
    """Make one, and answer when it was verified."""
    query.allow(request)
    try:
        made = await _backups(request).make()
    except BackupFailed as error:
        raise Problem(
            "backup-failed", str(error), hint="`hamgr backup ls` shows the last good one"
        ) from error
    return web.json_response(line(made), status=201)


def _backups(request: web.Request) -> Backups:
    context = context_of(request)
    if context.backups is None:
        raise Problem(
            "no-backups",
            f"replica {context.name} makes no backups",
            hint="set `backup` in its configuration (docs/backup.md), or ask another one with --server",
        )
    return context.backups

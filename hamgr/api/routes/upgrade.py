"""Upgrading hamgr itself: its wheels, what each replica runs, who would take it, and how far it is.

1. An upgrade begins only when every replica answered, and none of them said why it cannot.
2. `?dry_run=1` looks at all of that, and begins nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from backends.blobs import BlobError, digest_of
from hamgr.api import parse, peers, proposals, query
from hamgr.api.body import read_bytes
from hamgr.api.context import ApiContext, SelfUpgrade, context_of
from hamgr.api.problems import Problem
from hamgr.upgrade import versions, wheels
from hamgr.upgrade.coordinator import short_of_majority
from hamgr.upgrade.releases import name_of
from hamgr.upgrade.service import view_of
from hamgr.upgrade.wheels import BadWheel, WheelFile
from statemachine.upgrade_commands import BeginUpgrade, StopUpgrade
from statemachine.upgrading import Wheel
from statemachine.words import Digest

OURS = "hamgr"
GROWTH = 3
"""How much of the disk a wheel takes for each of its bytes: unpacked, compiled, and as the blob."""


async def get_upgrade(request: web.Request) -> web.Response:
    """Tell how far the last upgrade is, and what the leader waits for."""
    query.allow(request, "consistency")
    context = context_of(request)
    leader = peers.leader_of(context)
    if leader is not None and peers.FORWARDED not in request.headers:
        return await peers.hand_on(request, leader)
    state = await query.read_state(request)
    return web.json_response(view_of(state.upgrade, _part(context).waits))


async def get_replica(request: web.Request) -> web.Response:
    """Tell what this one replica runs, and what keeps it from replacing itself."""
    query.allow(request)
    context = context_of(request)
    about = await asyncio.to_thread(_part(context).about)
    return web.json_response({"name": context.name, **about})


async def post_wheel(request: web.Request) -> web.Response:
    """Keep a wheel on a quorum of replicas; it is installed nowhere by that."""
    query.allow(request)
    context = context_of(request)
    data = await read_bytes(request, bytes_max=context.limits.blob_bytes_max)
    about = await _read(data)
    digest = digest_of(data)
    try:
        await asyncio.to_thread(context.blobs.put, digest, data)
    except BlobError as error:
        raise Problem("store-unusable", str(error)) from error
    others = await peers.give_blob(request.app, digest, data)
    total = len(context.replica.peers) + 1
    if len(others) + 1 < total // 2 + 1:
        raise Problem(
            "not-stored", f"{len(others) + 1} of {total} replicas stored the wheel", hint="send it again"
        )
    return web.json_response({"digest": digest, "name": about.name, "version": about.version}, status=201)


async def begin_upgrade(request: web.Request) -> web.Response:
    """Have all replicas take a new release, one at a time; with ?dry_run=1 only tell who would, and when."""
    query.allow(request, "dry_run", "consistency")
    context = context_of(request)
    body = await parse.read_body(request, parse.UpgradeBody)
    files = [await _stored(request, Digest(digest)) for digest in body.wheels]
    version = next((about.version for about in files if about.name == OURS), "")
    if not version:
        raise Problem("bad-body", "none of the wheels is hamgr's", hint="name the wheel of hamgr first")
    told = await _told(request)
    release = name_of(version, body.wheels)
    _check(told, files, version)
    order = _order(context, list(told))
    done = [name for name in order if told[name]["release"] == release]
    if not body.force:
        _check_quorum(context, [name for name in order if name not in done])
    command = proposals.make(
        request,
        BeginUpgrade,
        version=version,
        wheels=tuple(
            Wheel(name=about.name, version=about.version, digest=Digest(digest))
            for about, digest in zip(files, body.wheels, strict=True)
        ),
        replicas=tuple(order),
        done=tuple(done),
        force=body.force,
    )
    accepted = await proposals.submit(request, command)
    plan = [
        {
            "name": name,
            "version": told[name]["version"],
            "release": told[name]["release"],
            "done": name in done,
        }
        for name in order
    ]
    dry_run = query.flag(request, "dry_run")
    view = {"dry_run": dry_run, "ref": accepted.ref, "version": version, "release": release, "replicas": plan}
    return web.json_response(view, status=200 if dry_run else 202)


async def stop_upgrade(request: web.Request) -> web.Response:
    """Give nobody a turn any more; whoever has one ends it."""
    query.allow(request, "consistency")
    upgrade = (await query.read_state(request)).upgrade
    if upgrade is None:
        raise Problem("stale-claim", "hamgr was never upgraded here; there is nothing to stop")
    command = proposals.make(request, StopUpgrade, upgrade=upgrade.id)
    return proposals.answer(request, await proposals.submit(request, command))


def _part(context: ApiContext) -> SelfUpgrade:
    if context.upgrade is None:
        raise Problem("not-ready", "this replica has no part in upgrades", hint="ask another one")
    return context.upgrade


async def _read(data: bytes) -> WheelFile:
    try:
        return await asyncio.to_thread(wheels.read, data)
    except BadWheel as error:
        raise Problem("bad-body", f"this wheel cannot be installed: {error}") from error


async def _stored(request: web.Request, digest: Digest) -> WheelFile:
    """Return what a wheel says that this replica has, or another one."""
    try:
        data = await asyncio.to_thread(context_of(request).blobs.get, digest)
    except BlobError as error:
        fetched = await peers.get_blob(request.app, digest)
        if fetched is None or digest_of(fetched) != digest:
            hint = "send the wheel to POST /v1/upgrade/wheels first"
            raise Problem("no-such-blob", str(error), hint=hint) from error
        data = fetched
    return await _read(data)


async def _told(request: web.Request) -> dict[str, Mapping[str, Any]]:
    """Return what every replica says of itself.

    Raises:
        Problem: One did not answer.
    """
    context = context_of(request)
    answers = await peers.ask_all(request.app, "/v1/upgrade/replica")
    if silent := sorted(name for name, answer in answers.items() if answer is None):
        raise Problem(
            "change-refused",
            f"{', '.join(silent)} did not answer, so nothing was begun",
            hint="start it, or remove it: `hamgr replica remove`",
            offenders=silent,
        )
    own = await asyncio.to_thread(_part(context).about)
    return {context.name: own, **{name: answer for name, answer in answers.items() if answer is not None}}


def _check(told: Mapping[str, Mapping[str, Any]], files: Sequence[WheelFile], version: str) -> None:
    needed = GROWTH * sum(about.size_bytes for about in files)
    for name, about in sorted(told.items()):
        why = about["trouble"] or versions.refusal(str(about["version"]), version)
        if not why and about["room_bytes"] < needed:
            why = (
                f"{about['room_bytes'] // 2**20} MiB of its disk can be used, of {needed // 2**20 + 1} needed"
            )
        if why:
            raise Problem("change-refused", f"{name}: {why}; nothing was begun", offenders=[name])


def _check_quorum(context: ApiContext, names: Sequence[str]) -> None:
    voters = {voter.name for voter in context.members.configuration.voters}
    well = {context.name, *(peer.name for peer in context.replica.peers if peer.connected)}
    for name in names:
        if why := short_of_majority(voters, well, name):
            raise Problem(
                "quorum-at-risk",
                f"{why}; nothing was begun",
                hint="add a replica first; `--force` goes on, and no write is taken while it restarts",
                offenders=[name],
            )


def _order(context: ApiContext, names: Sequence[str]) -> list[str]:
    """Return the names, followers first; who leads at the end of it may be another one by then."""
    return sorted(names, key=lambda name: (name == context.replica.leadership.leader, name))

"""The configuration repository: bundles, their bytes on a quorum of replicas, and global variables."""

import asyncio

from aiohttp import web

from backends.blobs import BlobError, NoSuchBlob, StoreUnusable, WrongDigest
from hamgr.api import parse, peers, proposals, query, views
from hamgr.api.body import read_bytes
from hamgr.api.context import context_of
from hamgr.api.problems import Fault, Problem
from hamgr.bundles import BundleInvalid, LoadedBundle
from statemachine.commands import CommitBundle, SetGlobals
from statemachine.model import ERROR_CHARS_MAX, State
from statemachine.words import Digest


async def push_bundle(request: web.Request) -> web.Response:
    """Check an archive, store it on a quorum of replicas, and only then make it the current bundle."""
    query.allow(request, "message", "dry_run", "consistency")
    message = request.query.get("message", "")
    if len(message) > ERROR_CHARS_MAX:
        raise Problem("bad-query", f"the message is longer than {ERROR_CHARS_MAX} characters")
    context = context_of(request)
    data = await read_bytes(request, bytes_max=context.limits.bundle_bytes_max)
    bundle = await _loaded(request, data)
    command = proposals.make(
        request,
        CommitBundle,
        digest=bundle.digest,
        manifest=bundle.manifest,
        size_bytes=len(bundle.packed),
        message=message,
    )
    if query.flag(request, "dry_run"):
        await proposals.try_out(request, command)
        return web.json_response({"dry_run": True, "digest": bundle.digest, "size_bytes": len(bundle.packed)})
    replicas = await _store(request, bundle)
    accepted = await proposals.submit(request, command)
    view = {
        "digest": bundle.digest,
        "size_bytes": len(bundle.packed),
        "replicas": replicas,
        "index": accepted.index,
    }
    return web.json_response(view, status=201, headers={"Location": f"/v1/bundles/{bundle.digest}"})


async def _loaded(request: web.Request, data: bytes) -> LoadedBundle:
    try:
        return await asyncio.to_thread(context_of(request).load_bundle, data)
    except BundleInvalid as error:
        faults = [
            Fault(file=p.file, line=p.line, column=p.column, message=p.message, hint=p.hint)
            for p in error.problems
        ]
        count = len(faults) + error.omitted
        first = str(error.problems[0]) if error.problems else "nothing could be read"
        raise Problem(
            "bundle-invalid",
            f"{count} problem{'s' if count != 1 else ''}; the first: {first}",
            hint="nothing was stored; correct them and push again",
            errors=faults,
        ) from error


async def _store(request: web.Request, bundle: LoadedBundle) -> list[str]:
    """Put the bundle's bytes on this replica and on others; return the names of those that have them."""
    context = context_of(request)
    try:
        await asyncio.to_thread(context.blobs.put, bundle.digest, bundle.packed)
    except BlobError as error:
        raise _of_blob(error) from error
    others = await peers.give_blob(request.app, bundle.digest, bundle.packed)
    total = len(context.replica.peers) + 1
    if len(others) + 1 < total // 2 + 1:
        raise Problem(
            "not-stored",
            f"{len(others) + 1} of {total} replicas stored the bundle; {total // 2 + 1} must",
            hint="push again when more replicas run; nothing was committed",
        )
    return sorted([context.name, *others])


def _of_blob(error: BlobError) -> Problem:
    if isinstance(error, NoSuchBlob):
        return Problem("no-such-blob", str(error))
    if isinstance(error, WrongDigest):
        return Problem("wrong-digest", str(error))
    if isinstance(error, StoreUnusable):
        return Problem("store-unusable", str(error))
    return Problem("no-such-blob", str(error))  # damaged: for the caller, this replica does not have it


def _known(state: State, digest: Digest) -> Digest:
    if digest not in state.bundles:
        raise Problem(
            "no-such-bundle",
            f"no such bundle: {digest}",
            offenders=(digest,),
            hint="list them with `hamgr config ls`",
        )
    return digest


async def list_bundles(request: web.Request) -> web.Response:
    """Return the bundles, the newest first."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    items = [views.bundle_line(state, digest) for digest in reversed(list(state.bundles))]
    current = state.current_bundle or None
    return web.json_response({"items": items, "current": current, "index": state.index})


async def get_bundle(request: web.Request) -> web.Response:
    """Return what a bundle promises."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    return web.json_response(views.bundle_whole(state, _known(state, query.digest_in_path(request))))


async def get_archive(request: web.Request) -> web.Response:
    """Return a bundle's bytes as a tar file, from this replica or from another one."""
    query.allow(request, "consistency")
    digest = _known(await query.read_state(request), query.digest_in_path(request))
    context = context_of(request)
    try:
        data = await asyncio.to_thread(context.blobs.get, digest)
    except BlobError as error:
        fetched = await peers.get_blob(request.app, digest)
        if fetched is None:
            raise _of_blob(error) from error
        try:
            await asyncio.to_thread(context.blobs.put, digest, fetched)
        except WrongDigest as wrong:
            raise _of_blob(wrong) from wrong
        except StoreUnusable:
            pass  # what cannot be kept here can still be handed on; `put` has checked the bytes
        data = fetched
    name = f"hamgr-{digest.removeprefix('sha256:')[:12]}.tar"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "ETag": f'"{digest}"'}
    return web.Response(body=data, content_type="application/x-tar", headers=headers)


async def get_blob(request: web.Request) -> web.Response:
    """Return a blob of this replica's own store (other replicas ask for it)."""
    query.allow(request)
    try:
        data = await asyncio.to_thread(context_of(request).blobs.get, query.digest_in_path(request))
    except BlobError as error:
        raise _of_blob(error) from error
    return web.Response(body=data, content_type="application/octet-stream")


async def put_blob(request: web.Request) -> web.Response:
    """Store a blob that another replica sends; its name proves it."""
    query.allow(request)
    context = context_of(request)
    digest = query.digest_in_path(request)
    data = await read_bytes(request, bytes_max=context.limits.blob_bytes_max)
    try:
        await asyncio.to_thread(context.blobs.put, digest, data)
    except BlobError as error:
        raise _of_blob(error) from error
    return web.Response(status=204)


async def get_globals(request: web.Request) -> web.Response:
    """Return the global variables."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    tag = {"ETag": f'"{state.globals_index}"'}
    return web.json_response({"variables": dict(state.globals), "index": state.globals_index}, headers=tag)


async def patch_globals(request: web.Request) -> web.Response:
    """Merge into the global variables; null removes a key."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, parse.GlobalsPatch)
    command = proposals.make(request, SetGlobals, variables=body.variables, if_index=query.if_match(request))
    accepted = await proposals.submit(request, command)
    return proposals.answer(request, accepted, headers={"ETag": f'"{accepted.index}"'})

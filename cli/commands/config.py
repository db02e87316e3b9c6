"""hamgr config: configuration bundles."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import names
from cli.exits import ApiError, CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, settings
from cli.output import Column, ago, describe, note, short, show

if TYPE_CHECKING:
    from cli.client import Client

PUSH_TRY_TIMEOUT_S = 45.0


@click.group(cls=LazyGroup)
def config() -> None:
    """Configuration bundles: versions of a directory that says what roles are made of."""


COLUMNS = (
    Column("BUNDLE", lambda b: short(b["digest"])),
    Column("", lambda b: "current" if b["current"] else ""),
    Column("PUSHED", lambda b: ago(b["at"])),
    Column("NODES", lambda b: b["nodes"]),
    Column("MESSAGE", lambda b: b["message"]),
    Column("ROLES", lambda b: ",".join(b["roles"]), wide=True),
    Column("BYTES", lambda b: b["size_bytes"], wide=True),
    Column("ACTOR", lambda b: b["actor"], wide=True),
)


@config.command("ls", cls=Leaf, examples="hamgr config ls\nhamgr config ls -o name")
def list_bundles() -> None:
    """List the bundles, the newest first."""
    items = client().get("/v1/bundles")["items"]
    show(settings().output, items, columns=COLUMNS, rows=items, names=[item["digest"] for item in items])


@config.command(
    "push",
    cls=Leaf,
    examples="""
    hamgr config push ./config -m "nginx 1.27"
    hamgr config push ./config --dry-run        # only check it
    """,
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-m", "--message", default="", help="What is new; shown by `hamgr config ls`.")
@click.option("--dry-run", is_flag=True, help="Only check it.")
def push(directory: Path, message: str, *, dry_run: bool) -> None:
    """Check a directory, store it on a quorum of replicas, and make it the current bundle.

    A `.git` at its top is left out; everything else goes as it is.
    """
    from cli.archive import pack  # noqa: PLC0415 - only here

    query = {"message": message, "dry_run": dry_run}
    headers = {"Content-Type": "application/x-tar"}
    asked = client()
    try:
        data = asked.call(
            "POST",
            "/v1/bundles",
            data=pack(directory),
            query=query,
            headers=headers,
            try_timeout_s=PUSH_TRY_TIMEOUT_S,
        ).data
    except ApiError as error:
        if error.problem_code == "bundle-invalid":
            error.errors = [_placed(directory, fault) for fault in error.errors]
        raise
    show(settings().output, data, names=[data["digest"]], text=data["digest"])
    if dry_run:
        note("nothing to complain about; nothing was stored")
    else:
        note(f"stored on {', '.join(data['replicas'])}; nodes have it after `hamgr node upgrade`")


def _placed(directory: Path, fault: Any) -> dict[str, Any]:
    """Return a fault with the file as it is called from here, so that editors can jump to it."""
    file = str(fault.get("file") or "")
    return {**fault, "file": str(directory / file) if file and file != "archive" else file}


@config.command("show", cls=Leaf, examples="hamgr config show\nhamgr config show 2fbd4b -o json")
@click.argument("digest", default="current", shell_complete=names.digests)
def show_bundle(digest: str) -> None:
    """Show what a bundle promises: roles, components, steps."""
    asked = client()
    data = asked.get(f"/v1/bundles/{whole_digest(asked, digest)}")
    show(settings().output, data, names=[data["digest"]], text=describe(data))


@config.command("export", cls=Leaf, examples="hamgr config export current ./copy")
@click.argument("digest", shell_complete=names.digests)
@click.argument("directory", type=click.Path(path_type=Path))
def export(digest: str, directory: Path) -> None:
    """Write a bundle's files into a new directory."""
    from cli.archive import unpack  # noqa: PLC0415 - only here

    asked = client()
    data = asked.call("GET", f"/v1/bundles/{whole_digest(asked, digest)}/archive").data
    count = unpack(data, directory)
    note(f"{count} files in {directory}")


def whole_digest(asked: "Client", text: str) -> str:
    """Return the digest that `text` begins, or the current one."""
    page = asked.get("/v1/bundles")
    if text == "current":
        if page["current"]:
            return str(page["current"])
        raise CliError(Exit.NOT_FOUND, "there is no bundle yet", hint="hamgr config push DIR")
    wished = text.removeprefix("sha256:")
    digests = [str(item["digest"]) for item in page["items"]]
    found = [digest for digest in digests if digest.removeprefix("sha256:").startswith(wished)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CliError(Exit.USAGE, f"{len(found)} bundles begin with {text}", hint="give more digits")
    raise CliError(Exit.NOT_FOUND, f"no such bundle: {text}", hint="list them with `hamgr config ls`")

"""hamgr backup: what is kept for the day on which all replicas are gone."""

from collections.abc import Mapping
from typing import Any

import click

from cli.lazy import LazyGroup
from cli.options import Leaf, client, settings
from cli.output import clean, show
from cli.texts import ago

MAKE_TIMEOUT_S = 600.0


@click.group(cls=LazyGroup)
def backup() -> None:
    """Backups of the cluster: list them, make one now. `hamgrd restore` begins anew from one."""


@backup.command("ls", cls=Leaf, examples="hamgr backup ls\nhamgr backup ls -o json")
def ls() -> None:
    """List the backups of the replica that answers, the newest first."""
    data = client().get("/v1/backups")
    show(settings().output, data, names=[one["file"] for one in data["items"]], text=_text(data))


@backup.command("now", cls=Leaf, examples="hamgr backup now")
def now() -> None:
    """Make a backup on the replica that answers; it is verified by restoring it in a scratch folder."""
    made = client().call("POST", "/v1/backups", try_timeout_s=MAKE_TIMEOUT_S, timeout_s=MAKE_TIMEOUT_S).data
    text = f"made and verified: {clean(made['file'])}, {made['bytes']} bytes, at index {made['index']}"
    show(settings().output, made, names=[made["file"]], text=text)


def _text(data: Mapping[str, Any]) -> str:
    lines = [f"replica {clean(data['replica'])} keeps backups in {clean(data['directory'])}"]
    if data["failure"]:
        lines.append(f"! the last try failed: {clean(data['failure'])}")
    lines += [
        f"  {ago(one['at']):>12}  index {one['index']:<10} {one['bytes']:>12} bytes  {clean(one['file'])}"
        for one in data["items"]
    ]
    if not data["items"]:
        lines.append("  none so far; make one: hamgr backup now")
    return "\n".join(lines)

"""hamgr self: hamgr replaces itself, one replica after the other."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import jobs
from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import Column, ago, clean, note, show

if TYPE_CHECKING:
    from cli.client import Client

POLL_S = 0.5
BYTES = {"Content-Type": "application/octet-stream"}
WHEEL_BYTES_MAX = 32 * 1024 * 1024
VERSION = re.compile(r"[0-9]+(\.[0-9]+)+[0-9A-Za-z.+]*")
COLUMNS = (
    Column("REPLICA", lambda r: r["name"]),
    Column("PHASE", lambda r: r["phase"]),
    Column("FOR", lambda r: ago(r["at"])),
    Column("LAST", lambda r: clean(r["sentence"])),
)


@click.group("self", cls=LazyGroup)
def self_() -> None:
    """hamgr itself: upgrade all replicas, one at a time, and see how far that is."""


@self_.command(
    "upgrade",
    cls=Leaf,
    examples="""
    hamgr self upgrade hamgr-0.2.0-py3-none-any.whl --dry-run
    hamgr self upgrade hamgr-0.2.0-py3-none-any.whl --with msgpack-1.2.0-cp311-cp311-linux_x86_64.whl
    hamgr self upgrade 0.2.0 --yes           # the wheel of that version in this folder
    """,
)
@click.argument("wheel", metavar="WHEEL|VERSION")
@click.option("--with", "more", multiple=True, metavar="WHEEL", help="What the new version needs, too.")
@click.option("--force", is_flag=True, help="Also where no majority is left while a replica restarts.")
@click.option(
    "--dry-run", is_flag=True, help="Look whether all could take it, show the order, begin nothing."
)
@click.option("--detach", is_flag=True, help="Do not wait; see `hamgr self status`.")
@yes_option
def upgrade(
    wheel: str, more: tuple[str, ...], *, force: bool, dry_run: bool, detach: bool, yes: bool
) -> None:
    """Have every replica run the hamgr of WHEEL: followers first, the leader last, one at a time.

    A replica that does not come up is put back to what it ran, and the upgrade stops.
    Given again, the command goes on where it stopped. Ctrl-C only stops watching.
    """
    asked, ours = client(), settings()
    digests = [_sent(asked, path) for path in (_found(wheel), *map(Path, more))]
    body = {"wheels": digests, "force": force}
    plan = asked.call("POST", "/v1/upgrade", body=body, query={"dry_run": True}).data
    rows = [_planned(item, plan["version"]) for item in plan["replicas"]]
    if dry_run:
        show(ours.output, plan, columns=COLUMNS[:2], rows=rows, names=[row["name"] for row in rows])
        return
    order = ", then ".join(row["name"] for row in rows if row["phase"] != "done")
    if not order:
        show(ours.output, plan, names=[], text=f"all replicas run hamgr {plan['release']} already")
        return
    confirm(f"Upgrade hamgr to {plan['version']} on {order}?", yes=yes)
    begun = asked.call("POST", "/v1/upgrade", body=body).data
    if detach:
        show(ours.output, begun, names=[begun["ref"]], text=f"{begun['ref']}: hamgr self status")
        return
    _conclude(_watched(asked, begun["ref"]))


@self_.command("status", cls=Leaf, examples="hamgr self status\nhamgr self status -o json")
@click.option("--wait", is_flag=True, help="Until it has ended; shows what happens meanwhile.")
def status(*, wait: bool) -> None:
    """Show how far the last upgrade of hamgr is; exit code 1 when it was stopped."""
    asked = client()
    found = asked.get("/v1/upgrade")["upgrade"]
    if found is None:
        show(settings().output, {"upgrade": None}, names=[], text="hamgr was not upgraded by itself yet")
        return
    _conclude(_watched(asked, found["id"]) if wait else found)


@self_.command("stop", cls=Leaf, examples="hamgr self stop")
def stop() -> None:
    """Give no further replica its turn; one that has it goes on to its end."""
    data = client().call("POST", "/v1/upgrade:stop").data
    show(settings().output, data, names=[data["ref"]], text=f"{data['ref']} is stopped; `hamgr self status`")


def _found(wheel: str) -> Path:
    """Return the wheel's file; a version is looked for in this folder."""
    path = Path(wheel)
    if path.suffix == ".whl" or path.exists():
        return path
    if not VERSION.fullmatch(wheel):
        raise CliError(
            Exit.USAGE, f"{wheel} is neither a wheel nor a version", hint="hamgr self upgrade --help"
        )
    here = sorted(Path.cwd().glob(f"hamgr-{wheel}-*.whl"))
    if len(here) != 1:
        how = f"pip download --no-deps hamgr=={wheel}"
        many = "several wheels" if here else "no wheel"
        raise CliError(Exit.NOT_FOUND, f"there is {many} of hamgr {wheel} in this folder", hint=how)
    return here[0]


def _sent(asked: "Client", path: Path) -> str:
    """Have a wheel kept by the replicas; return its digest."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CliError(Exit.USAGE, f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > WHEEL_BYTES_MAX:
        raise CliError(
            Exit.USAGE, f"{path} is larger than {WHEEL_BYTES_MAX // 2**20} MiB; this is no such wheel"
        )
    return str(asked.call("POST", "/v1/upgrade/wheels", data=data, headers=BYTES).data["digest"])


def _planned(item: Mapping[str, Any], version: str) -> dict[str, Any]:
    return {"name": item["name"], "phase": "done" if item["done"] else f"{item['version']} -> {version}"}


def _watched(asked: "Client", upgrade: str) -> Mapping[str, Any]:
    """Tell what happens until the upgrade has ended; return how it ended."""
    told: dict[str, str] = {}
    while True:
        found = asked.get("/v1/upgrade")["upgrade"]
        if found is None or found["id"] != upgrade:
            raise CliError(
                Exit.CONFLICT, f"{upgrade} is over, and another one has begun", hint="hamgr self status"
            )
        for item in found["replicas"]:
            sentence = clean(item["sentence"])
            if item["phase"] != "waiting" and told.get(item["name"]) != sentence:
                told[item["name"]] = sentence
                note(f"{item['phase']:<11} {sentence}")
        waits = clean(found["waits"])
        if waits and told.get("") != waits:
            told[""] = waits
            note(f"{'waits':<11} {waits}")
        at_work = any(item["phase"] in ("installing", "restarting", "settling") for item in found["replicas"])
        if found["state"] != "running" and not at_work:
            return dict(found)
        time.sleep(POLL_S)


def _conclude(found: Mapping[str, Any]) -> None:
    rows = found["replicas"]
    show(settings().output, found, columns=COLUMNS, rows=rows, names=[row["name"] for row in rows])
    if found["state"] == "stopped":
        note(f"stopped: {clean(found['why'])}")
        jobs.end(Exit.FAILED)
    elif found["waits"]:
        note(f"waits: {clean(found['waits'])}")

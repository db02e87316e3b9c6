"""hamgr doctor: what could go wrong with the replicas, before it does."""

from collections.abc import Mapping
from typing import Any

import click

from cli import jobs
from cli.exits import CliError, Exit
from cli.options import Leaf, client, settings
from cli.output import Column, show

TIMEOUT_S = 30.0
COLUMNS = (
    Column("REPLICA", lambda r: r["replica"]),
    Column("LEVEL", lambda r: r["level"]),
    Column("ABOUT", lambda r: r["subject"]),
    Column("HOW IT IS", lambda r: r["says"] + (f"; {r['way_out']}" if r["way_out"] else "")),
)


@click.command(
    cls=Leaf,
    examples="""
    hamgr doctor
    hamgr doctor -o json | jq '.items[] | select(.level == "fail")'
    """,
)
def doctor() -> None:
    """Have each replica look at itself and at the others: files, addresses, disk, clocks, versions.

    Changes nothing. Ends with 1 when something fails. Where a replica does not run, there is `hamgrd doctor`.
    """
    from cli.client import Client  # noqa: PLC0415 - HTTP costs 40 ms, which --help is not worth

    asked, ours = client(), settings()
    items: list[Mapping[str, Any]] = []
    for one in asked.get("/v1/replicas", consistency="stale")["items"]:
        server = str(one["api"] or "")
        alone = Client(servers=(server,), token=ours.token(), timeout_s=TIMEOUT_S / 10)
        try:
            said = alone.call("GET", "/v1/doctor", try_timeout_s=TIMEOUT_S).data["items"]
        except CliError as error:
            lost = {"subject": "replica", "level": "fail", "says": error.message, "way_out": "see its log"}
            said = [lost]
        finally:
            alone.close()
        items += [{"replica": one["name"], **item} for item in said]
    failed = any(item["level"] == "fail" for item in items)
    data = {"items": items, "failed": failed}
    show(ours.output, data, columns=COLUMNS, rows=items, names=[item["replica"] for item in items])
    jobs.end(Exit.FAILED if failed else Exit.OK)

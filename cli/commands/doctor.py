"""hamgr doctor: what could go wrong with the replicas, before it does."""

from collections.abc import Mapping
from typing import Any

import click

from cli import everywhere, jobs
from cli.exits import CliError, Exit
from cli.options import Leaf, settings
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
    items: list[Mapping[str, Any]] = []
    for replica, answer in everywhere.each("GET", "/v1/doctor", timeout_s=TIMEOUT_S):
        if isinstance(answer, CliError):
            said = [{"subject": "replica", "level": "fail", "says": answer.message, "way_out": "see its log"}]
        else:
            said = answer["items"]
        items += [{"replica": replica, **item} for item in said]
    failed = any(item["level"] == "fail" for item in items)
    data = {"items": items, "failed": failed}
    show(settings().output, data, columns=COLUMNS, rows=items, names=[item["replica"] for item in items])
    jobs.end(Exit.FAILED if failed else Exit.OK)

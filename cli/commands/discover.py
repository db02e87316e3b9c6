"""hamgr discover: find machines at addresses."""

import click

from cli import jobs
from cli.options import Leaf, client, pairs, settings


@click.command(
    cls=Leaf,
    examples="""
    hamgr discover 10.0.0.7 10.0.0.8:2222
    hamgr discover 10.0.0.0/24 --user ops --label rack=r1
    hamgr discover 10.0.0.0/24 --dry-run        # the addresses that would be probed
    """,
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--port", type=click.IntRange(1, 65_535), default=22, show_default=True, help="SSH port.")
@click.option("--user", default="root", show_default=True, help="SSH user.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Given to nodes that are found.")
@click.option("--readmit", is_flag=True, help="Take machines back that were forgotten.")
@click.option("--max-parallel", type=click.IntRange(1), help="How many at once.")
@click.option("--reason", default="", help="Kept with the job.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--exit-code", is_flag=True, help="With --dry-run: exit 10 when something would be done.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def discover(
    addresses: tuple[str, ...],
    port: int,
    user: str,
    labels: tuple[str, ...],
    *,
    readmit: bool,
    max_parallel: int | None,
    reason: str,
    dry_run: bool,
    exit_code: bool,
    detach: bool,
) -> None:
    """Probe addresses, host names or ranges over SSH; what answers becomes a node.

    Nothing on the machines is changed.
    """
    body = {
        "kind": "discover",
        "addresses": list(addresses),
        "port": port,
        "user": user,
        "labels": pairs(labels, "--label"),
        "readmit": readmit,
        "max_parallel": max_parallel or 0,
        "reason": reason,
    }
    asked, fmt = client(), settings().output
    if dry_run:
        jobs.end(jobs.show_preview(fmt, jobs.preview(asked, body), exit_code=exit_code))
    jobs.end(jobs.submit(asked, body, fmt, detach=detach))

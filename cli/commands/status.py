"""hamgr status: the cluster on one screen."""

from collections.abc import Mapping
from typing import Any

import click

from cli import jobs
from cli.exits import CliError, Exit
from cli.held import state_of
from cli.options import Leaf, client, settings
from cli.output import Column, ago, clean, note, short, show, styled

QUICK_TIMEOUT_S = 6.0
"""A cluster without a quorum is reported after this, from what one replica remembers."""


@click.command(
    cls=Leaf,
    examples="""
    hamgr status
    hamgr status -o wide        # replicas with applied index and digest of their state
    hamgr status -o json
    """,
)
def status() -> None:
    """How the cluster is: quorum and leader, nodes, work, and what needs a person."""
    ours = settings()
    asked = client(timeout_s=min(ours.timeout_s, QUICK_TIMEOUT_S))
    query = {"digest": ours.output in ("wide", "json", "yaml")}
    code = Exit.OK
    try:
        data = asked.call("GET", "/v1/status", query=query).data
    except CliError as error:
        if error.code is not Exit.UNREACHABLE:
            raise
        data = asked.call("GET", "/v1/status", query={**query, "consistency": "stale"}).data
        note(f"hamgr: {clean(error.message)}")
        age_s = data.get("age_s")
        age = "" if age_s is None else f", by {age_s:.1f} s"
        note(f"hamgr: what follows is what one replica remembers; it may be old{age}")
        code = Exit.UNREACHABLE
    show(ours.output, data, names=[data["cluster"]], text=_text(data, wide=ours.output == "wide"))
    jobs.end(code)


def _text(data: Mapping[str, Any], *, wide: bool) -> str:
    quorum, nodes = data["quorum"], data["nodes"]
    health = styled("OK", fg="green") if not data["warnings"] else styled("attention", fg="yellow")
    leader = f"leader {data['leader']} (term {data['term']})" if data["leader"] else "no leader"
    links = f"{quorum['connected']}/{quorum['replicas']}"
    lines = [
        f"cluster  {clean(data['cluster']) or '-'}   {health}   replicas {links}   {leader}",
        f"losses   {quorum['sentence']}",
        *([f"         {clean(quorum['also'])}"] if quorum.get("also") else []),
        f"nodes    {nodes['total']}{_counts(nodes['status'])}",
    ]
    odd = {
        **{key: count for key, count in nodes["presence"].items() if key != "reachable"},
        **{key: count for key, count in nodes["health"].items() if key == "drifted"},
        **({"in maintenance": nodes["maintenance"]} if nodes["maintenance"] else {}),
    }
    if odd:
        lines.append(f"        {_counts(odd)}")
    if data.get("vip"):
        holder = f"held by {clean(data['vip']['holder'])}" if data["vip"]["holder"] else "held by nobody"
        lines.append(f"address  {', '.join(data['vip']['addresses'])}   {holder}")
    lines.append(f"work     {_work(data['jobs'])}")
    bundle = data["bundle"]
    if bundle:
        what = f"{short(bundle['digest'])}  {clean(bundle['message'])}"
        lines.append(f"config   {what}  ({ago(bundle['at'])} ago)")
    for warning in data["warnings"]:
        lines.append(f"{styled('!', fg='yellow')} {warning['code']}: {clean(warning['message'])}")
        lines.append(f"    try: {clean(warning['hint'])}")
    if wide:
        from cli.pictures import table  # noqa: PLC0415 - rich costs 45 ms, which only a table is worth

        rows = [[column.of(replica) for column in REPLICA_COLUMNS] for replica in data["replicas"]]
        lines += ["", table([column.title for column in REPLICA_COLUMNS], rows)]
    return "\n".join(lines)


REPLICA_COLUMNS = (
    Column("REPLICA", lambda r: r["name"]),
    Column("API", lambda r: r["api"]),
    Column("ROLE", lambda r: "leader" if r["leader"] else "follower"),
    Column("LINK", lambda r: "up" if r["connected"] else "down"),
    Column("TERM", lambda r: r["term"]),
    Column("APPLIED", lambda r: r["applied_index"]),
    Column("DIGEST", lambda r: short(r["digest"])),
)


def _counts(counts: Mapping[str, int]) -> str:
    return "".join(f"   {count} {clean(name)}" for name, count in counts.items())


def _work(work: Mapping[str, Any]) -> str:
    running = [
        f"{job['id']} {job['kind']} {job['progress']['done']}/{job['progress']['total']}"
        + (f" ({state_of(job)})" if job["holds"] else "")
        for job in work["running"]
    ]
    last = work["last"]
    ended = f"last {last['id']} {last['kind']} {last['state']} {ago(last['ended_at'])} ago" if last else ""
    return "; ".join(filter(None, [", ".join(running) or "nothing runs", ended]))

"""hamgr replica: who belongs to the cluster, and who leads it."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli import jobs, names
from cli.exits import ApiError, CliError, Exit
from cli.installing import over_ssh, ssh_options
from cli.lazy import LazyGroup
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import Column, clean, note, show
from cli.remote import Remote

if TYPE_CHECKING:
    from cli.client import Client

PAUSE_S = 0.5
QUICK_TIMEOUT_S = 6.0
"""For one answer: without a leader, the replicas are listed as one of them remembers after this."""


ROLES = {"learner": "standby"}
"""What people call what consensus calls a learner."""


def _behind(item: Mapping[str, Any]) -> str:
    if item["lag_entries"] is None:
        return "?"
    return "" if item["leader"] else f"{item['lag_entries']} entries" if item["lag_entries"] else "nothing"


COLUMNS = (
    Column("REPLICA", lambda r: r["name"]),
    Column("ROLE", lambda r: "leader" if r["leader"] else ROLES.get(r["role"], r["role"])),
    Column("DOMAIN", lambda r: r.get("domain") or ""),
    Column("LINK", lambda r: "up" if r["connected"] else "down"),
    Column("BEHIND", _behind),
    Column("RAFT", lambda r: r["raft"]),
    Column("API", lambda r: r["api"]),
    Column("ID", lambda r: r["id"], wide=True),
    Column("WHY", lambda r: clean(r.get("reason", ""))),
)
ONE = click.argument("name", shell_complete=names.replicas)


@click.group(
    cls=LazyGroup,
    lazy={
        "replace": (
            "cli.commands.replica_replace:replace",
            "Put a new replica in the place of one, over SSH.",
        ),
        "promote": ("cli.commands.replica_votes:promote", "Give a standby a vote."),
        "demote": ("cli.commands.replica_votes:demote", "Make a voter a standby that stays one."),
        "target": ("cli.commands.replica_votes:target", "Say how many replicas should vote."),
        "rest": (
            "cli.commands.replica_votes:rest",
            "Say that a replica will be away, so that it keeps its vote.",
        ),
        "domain": ("cli.commands.replica_votes:domain", "Say in which failure domain a replica is."),
        "fencing": (
            "cli.commands.replica_fencing:fencing",
            "Fencing commands: show how their tests stand, test them now.",
        ),
    },
)
def replica() -> None:
    """Replicas: the processes that agree on everything; add, remove and replace them one at a time."""


@replica.command(
    "ls", cls=Leaf, examples="hamgr replica ls\nhamgr replica ls -o wide        # with their ids"
)
def list_replicas() -> None:
    """List the replicas, how far each is behind the leader, and which losses are survived."""
    ours, code = settings(), Exit.OK
    asked = client(timeout_s=min(ours.timeout_s, QUICK_TIMEOUT_S))
    try:
        data = asked.get("/v1/replicas")
    except CliError as error:
        if error.code is not Exit.UNREACHABLE:
            raise
        data = asked.get("/v1/replicas", consistency="stale")
        note(f"hamgr: {clean(error.message)}")
        note("hamgr: what follows is what one replica remembers; it may be old")
        code = Exit.UNREACHABLE
    items = data["items"]
    show(ours.output, data, columns=COLUMNS, rows=items, names=[item["name"] for item in items])
    survived(data["quorum"])
    jobs.end(code)


def survived(quorum: Mapping[str, Any], when: str = "") -> None:
    """Note which losses are survived."""
    note(f"{when}{quorum['sentence']}")
    if quorum.get("also"):
        note(f"{' ' * len(when)}{clean(quorum['also'])}")


@replica.command(
    "add",
    cls=Leaf,
    examples="""
    hamgr replica add 10.0.0.4 --name r4
    hamgr replica add r4.example --identity ~/.ssh/fleet
    hamgr replica add r4 --id 1f0c... --raft 10.0.0.4:7001 --api 127.0.0.1:7083
    hamgr replica add r4 --id 1f0c... --raft 10.0.0.4:7001 --api 127.0.0.1:7083 --timeout 600
    """,
)
@click.argument("host", metavar="HOST|NAME")
@ssh_options
@click.option("--id", "replica_id", default="", metavar="UUID", help="Made by hand: as in its certificate.")
@click.option("--raft", default="", metavar="ADDRESS:PORT", help="Made by hand: where its peers reach it.")
@click.option("--api", default="", metavar="ADDRESS:PORT", help="Made by hand: where its HTTP API is.")
def add(
    host: str,
    name: str,
    user: str,
    identity: str,
    port: int | None,
    config: str,
    replica_id: str,
    raft: str,
    api: str,
    *,
    accept_new: bool,
) -> None:
    """Add a new replica on HOST: hamgr is installed there over SSH as it is here, joins, and gets a vote.

    With --id, --raft and --api, the replica NAME that was made by hand gets the log, and a vote when it has
    caught up. `hamgrd make-certificates` prints id and addresses.

    A command that was stopped or ran out of time can be
    given again, and goes on; the cluster waits for nothing meanwhile.
    """
    if not (replica_id or raft or api):
        machine = Remote(
            host=host, user=user, port=port, identity=identity, accept_new=accept_new, config=config
        )
        new = over_ssh(machine, name=name)
        data = client().get("/v1/replicas")
        show(settings().output, data, names=[new], text=f"{new} is a replica")
        note(data["quorum"]["sentence"])
        return
    if not (replica_id and raft and api):
        raise click.UsageError("a replica that was made by hand needs --id, --raft and --api, all three")
    _add_by_hand(name or host, replica_id, raft, api)


def _add_by_hand(name: str, replica_id: str, raft: str, api: str) -> None:
    asked, ours = client(), settings()
    body = {"id": replica_id, "raft": raft, "api": api}
    deadline = time.monotonic() + ours.timeout_s
    told = ""
    while True:
        left_s = max(deadline - time.monotonic(), QUICK_TIMEOUT_S)
        answer = asked.call("PUT", f"/v1/replicas/{_segment(name)}", body=body, timeout_s=left_s)
        if answer.status != 202:
            break
        sentence = _waits_for(answer.data)
        if sentence != told:
            told = sentence
            note(f"{name} is a learner; {sentence}")
        if time.monotonic() > deadline:
            raise CliError(
                Exit.TIMEOUT,
                f"{name} is a learner, and no voter after {ours.timeout_s:.0f} s: {sentence}",
                hint="start its hamgrd, look in its log, and give this command again: it goes on",
            )
        time.sleep(PAUSE_S)
    role = ROLES.get(answer.data["role"], answer.data["role"])
    show(ours.output, answer.data, names=[name], text=f"{name} is a {role}")
    note(asked.get("/v1/replicas")["quorum"]["sentence"])


@replica.command(
    "remove", cls=Leaf, examples="hamgr replica remove r3\nhamgr replica remove r3 --yes -o json"
)
@ONE
@click.option("--force", is_flag=True, help="Even if no majority is connected afterwards.")
@yes_option
def remove(name: str, *, force: bool, yes: bool) -> None:
    """Remove a replica, for good or to have a new one in its place; a leader hands leadership over first.

    Shows which losses are survived before and after. Stop its hamgrd, too: it takes part in nothing any more.
    """
    data = remove_replica(client(), name, force=force, yes=yes)
    show(settings().output, data, names=[name], text=f"{name} is removed")


def remove_replica(asked: "Client", name: str, *, force: bool, yes: bool) -> Any:
    """Show what is survived before and after, ask, and remove; return what the cluster says."""
    path = f"/v1/replicas/{_segment(name)}"
    plan = asked.call("DELETE", path, query={"dry_run": True, "force": force}).data
    survived(plan["before"], "before  ")
    survived(plan["after"], "after   ")
    confirm(f"Remove {name}?", yes=yes)
    return _removed(asked, path, plan, force=force)


def _removed(asked: "Client", path: str, plan: Any, *, force: bool) -> Any:
    """Remove what `plan` was about; that it is gone already is success, for an answer can be lost."""
    try:
        return asked.call("DELETE", path, query={"id": plan["id"], "force": force}).data
    except ApiError as error:
        if error.problem_code != "no-such-replica":
            raise
        return {**plan, "dry_run": False}


@replica.command("lead", cls=Leaf, examples="hamgr replica lead r2")
@ONE
def lead(name: str) -> None:
    """Hand leadership to a replica, for example before the leader's host is restarted."""
    data = client().call("POST", f"/v1/replicas/{_segment(name)}:lead").data
    if data["leader"] != name:
        who = clean(data["leader"]) or "nobody"
        raise CliError(Exit.CONFLICT, f"{who} leads, and not {name}", hint=f"hamgr replica lead {name}")
    show(settings().output, data, names=[name], text=f"{name} leads (term {data['term']})")


def _segment(name: str) -> str:
    """Return a name as part of a path."""
    from urllib.parse import quote  # noqa: PLC0415 - only what is sent needs it

    return quote(name, safe="")


def _waits_for(item: Any) -> str:
    if not item["connected"]:
        return "waiting for its hamgrd to be reached"
    if item["lag_entries"] is None:
        return "waiting for its first answer"
    return f"it lacks {item['lag_entries']} entries"

"""hamgr replica replace: a new replica over SSH in the place of one that is removed then."""

import click

from cli import remote
from cli.commands.replica import remove_replica
from cli.exits import CliError, Exit
from cli.installing import name_of, over_ssh, ssh_options
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import note, show


@click.command(
    cls=Leaf,
    examples="""
    hamgr replica replace r3 10.0.0.7 --name r6
    hamgr replica replace r3 new-host.example --identity ~/.ssh/fleet --yes
    """,
)
@click.argument("old")
@click.argument("host")
@ssh_options
@yes_option
def replace(
    old: str,
    host: str,
    name: str,
    user: str,
    identity: str,
    port: int | None,
    config: str,
    *,
    accept_new: bool,
    yes: bool,
) -> None:
    """Put a new replica on HOST in the place of OLD: the new one joins first, then OLD is removed."""
    asked = client()
    names = [item["name"] for item in asked.get("/v1/replicas")["items"]]
    machine = remote.Remote(
        host=host, user=user, port=port, identity=identity, accept_new=accept_new, config=config
    )
    new = name or name_of(host)
    if old == new:
        raise CliError(Exit.USAGE, f"the new replica cannot be called {old}, too", hint="add --name NAME")
    if old not in names and new not in names:
        raise CliError(Exit.NOT_FOUND, f"no replica is called {old}", hint=f"there are {', '.join(names)}")
    confirm(f"Put a replica on {host} in the place of {old}?", yes=yes)
    new = over_ssh(machine, name=name)
    if old in names:
        remove_replica(asked, old, force=False, yes=True)
    data = asked.get("/v1/replicas")
    show(settings().output, data, names=[new], text=f"{new} has taken the place of {old}")
    note(data["quorum"]["sentence"])

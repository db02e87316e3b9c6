"""`hamgrd join`: this machine becomes a replica of a cluster that runs."""

import json
import sys
from pathlib import Path

import click

from hamgr.commands.endings import JSON_OR_TEXT, fail
from hamgr.commands.places import name_of, place_options, places_of

VOTE_TIMEOUT_S = 300.0


@click.command()
@click.argument("token")
@click.option("--name", default="", callback=name_of, help="Of the replica.  [default: the host's name]")
@click.option("--raft", default="", metavar="ADDRESS:PORT", help="Where its peers reach it.")
@click.option("--api", default="", metavar="https://ADDRESS:PORT", help="Where its HTTP API is.")
@place_options
@click.option(
    "--timeout", "timeout_s", type=float, default=VOTE_TIMEOUT_S, show_default=True,
    help="With --start: how long to wait for its vote, in seconds.",
)  # fmt: skip
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def join(
    token: str,
    name: str,
    raft: str,
    api: str,
    config_dir: Path,
    data_dir: Path,
    unit: Path,
    *,
    no_unit: bool,
    start: bool,
    timeout_s: float,
    output: str,
) -> None:
    """Join the cluster of TOKEN (`hamgr token create --for replica` there); `-` reads it from standard input.

    The replica's key is made here and never leaves. It gets the log first, and a vote when it has all of it.
    A command that was stopped can be given again, and goes on from where it was.

    \b
    Examples:
      hamgrd join hamgrj1_... --start
      hamgrd join - --name r2 --raft 10.0.0.2:7001 --api https://10.0.0.2:7080 --start < token
    """
    from hamgr.bootstrap import joining, service  # noqa: PLC0415 - cryptography, which help need not wait for
    from hamgr.bootstrap.places import CannotBegin, own_name  # noqa: PLC0415 - as above
    from hamgr.security import join_token  # noqa: PLC0415 - as above

    def say(line: str) -> None:
        click.echo(line, err=True)

    places = places_of(config_dir, data_dir, unit, no_unit=no_unit)
    try:
        invitation = join_token.read(sys.stdin.readline() if token == "-" else token)  # noqa: S105 - no secret
        plan = joining.join(places, invitation, name=name or own_name(), raft=raft, api=api, say=say)
        role = "learner"
        if start:
            say(service.start(places))
            role = joining.vote(places, plan, timeout_s=timeout_s, say=say)
    except (CannotBegin, join_token.BadToken) as error:
        fail(error)
    if output == "json":
        click.echo(
            json.dumps(
                {"name": plan.name, "id": plan.replica, "raft": plan.raft, "api": plan.api, "role": role}
            )
        )
    elif start:
        click.echo(f"{plan.name} is a {role}")
    else:
        click.echo(
            f"{plan.name} has joined; start it, and give this command again with --start for its vote:"
        )
        click.echo(f"  {service.how(places)}")

"""hamgr token: single-use tokens by which machines join."""

import hashlib
import secrets
from typing import Any

import click

from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, settings
from cli.output import Column, ago, clock, note, show

SECRET_BYTES = 32
COLUMNS = (
    Column("TOKEN", lambda t: t["id"]),
    Column("FOR", lambda t: t["for"]),
    Column("NAME", lambda t: t["name"] or "any"),
    Column("STATE", lambda t: t["state"]),
    Column("JOINED", lambda t: t["joined"] or ""),
    Column("EXPIRES", lambda t: clock(t["expires_at"])),
    Column("MADE", lambda t: ago(t["made_at"])),
    Column("BY", lambda t: t["actor"]),
)


@click.group(cls=LazyGroup)
def token() -> None:
    """Join tokens: each lets one machine join, once, until it expires."""


@token.command(
    "create",
    cls=Leaf,
    examples="""
    hamgr token create --for replica
    hamgr token create --for replica --name r4 --ttl 15m
    hamgr token create --for node --ttl 8h -o json
    """,
)
@click.option(
    "--for", "joins_as", type=click.Choice(["replica", "node"]), required=True, help="What may join."
)
@click.option("--ttl", default="1h", show_default=True, help="How long it is good: 15m, 1h, 2d.")
@click.option("--name", default="", help="What may join with it; any name when left out.")
def create(joins_as: str, ttl: str, name: str) -> None:
    """Make a token and print it, once: the cluster has its hash only."""
    made, data = make(client(), joins_as=joins_as, ttl=ttl, name=name)
    data = {**data, "token": made}
    show(settings().output, data, names=[data["id"]], text=made)
    if joins_as == "replica":
        note("on the new machine: hamgrd join TOKEN --start")


@token.command("ls", cls=Leaf, examples="hamgr token ls\nhamgr token ls -o json")
def list_tokens() -> None:
    """List the tokens: who made them, for what, and who has joined with them."""
    data = client().get("/v1/tokens")
    items = data["items"]
    show(settings().output, data, columns=COLUMNS, rows=items, names=[item["id"] for item in items])


@token.command("revoke", cls=Leaf, examples="hamgr token revoke 1f0c2b3a4d5e")
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Take a token back that was not used; `hamgr token ls` shows the ids."""
    from urllib.parse import quote  # noqa: PLC0415 - only what is sent needs it

    data = client().call("DELETE", f"/v1/tokens/{quote(token_id, safe='')}").data
    show(settings().output, data, names=[token_id], text=f"nothing can join with {token_id}")


def make(asked: Any, *, joins_as: str, ttl: str, name: str = "") -> tuple[str, dict[str, Any]]:
    """Make a token; return it whole, and what the cluster said of it."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    body = {"for": joins_as, "sha256": digest, "ttl_s": ttl, "name": name}
    data = asked.call("POST", "/v1/tokens", body=body).data
    if not isinstance(data, dict) or "public" not in data:
        raise CliError(Exit.FAILED, "the server made no token", hint="upgrade its hamgr")
    return f"{data['public']}.{secret}", data

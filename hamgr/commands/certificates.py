"""`hamgrd make-certificates`: an authority and certificates by hand.

1. Nothing that is there already is changed, but by `--renew`.
"""

import json
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hamgr import config
from hamgr.commands.endings import FILE, JSON_OR_TEXT, fail
from hamgr.raft.settings import InvalidSettings, check_address
from hamgr.security.authority import Authority, identity_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A replica as `--replica` names it."""

    name: str
    raft: str
    api: str


class WantedParam(click.ParamType[Wanted]):
    name = "NAME=RAFT[,API]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Wanted:
        """Read `NAME=ADDRESS:PORT[,ADDRESS:PORT]`."""
        name, _, addresses = str(value).partition("=")
        raft, _, api = addresses.partition(",")
        if config.NAME.fullmatch(name) is None:
            self.fail(f"{name!r} is not a name of lower-case letters, digits and dashes", param, ctx)
        try:
            check_address(name, raft)
            check_address(name, api or "127.0.0.1:7080")
        except InvalidSettings as error:
            self.fail(str(error), param, ctx)
        return Wanted(name=name, raft=raft, api=api or "127.0.0.1:7080")


@click.command("make-certificates")
@click.argument("directory", type=FILE)
@click.option(
    "--replica", "wanted", type=WantedParam(), multiple=True, required=True,
    help="A replica: where its peers reach it, and where its HTTP API is. Once for each.",
)  # fmt: skip
@click.option("--renew", is_flag=True, help="Replace the certificates of these replicas; their ids stay.")
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def make_certificates(directory: Path, wanted: Sequence[Wanted], renew: bool, output: str) -> None:
    """Make the cluster's certificate authority in DIRECTORY, and a certificate and key for each replica.

    Prints the `peers:` part of hamgrd.yaml, the same for all replicas. With an authority in DIRECTORY
    already, that one signs. Copy ca.crt, NAME.crt and NAME.key to the replica NAME; keep ca.key where no
    replica runs: whoever has it can join the cluster.

    \b
    Examples:
      hamgrd make-certificates ./pki --replica r1=10.0.0.1:7001 --replica r2=10.0.0.2:7001 \\
          --replica r3=10.0.0.3:7001
      hamgrd make-certificates ./pki --replica r2=10.0.0.2:7001 --renew
    """
    try:
        authority = _authority(directory)
        ids = {one.name: _certify(directory, authority, one.name, renew=renew) for one in wanted}
    except (OSError, ValueError) as error:  # `BadCertificate` and what is no PEM file are `ValueError`s
        fail(f"{directory}: {error}")
    peers = {one.name: {"id": ids[one.name], "raft": one.raft, "api": one.api} for one in wanted}
    if output == "json":
        click.echo(json.dumps({"cluster": authority.cluster, "peers": peers}, indent=2))
        return
    click.echo(f"# Cluster {authority.cluster}. Copy this to the hamgrd.yaml of every replica:")
    click.echo("peers:")
    for name, peer in peers.items():
        click.echo(f'  {name}: {{id: "{peer["id"]}", raft: "{peer["raft"]}", api: "{peer["api"]}"}}')


def _authority(directory: Path) -> Authority:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / "ca.crt").exists():
        return Authority.load(directory)
    authority = Authority.create()
    authority.save(directory)
    return authority


def _certify(directory: Path, authority: Authority, name: str, *, renew: bool) -> str:
    """Return the id of a replica; make its certificate if it has none, or is to get another."""
    certificate, replica = directory / f"{name}.crt", str(uuid.uuid4())
    if certificate.exists():
        replica = identity_of(ssl.PEM_cert_to_DER_cert(certificate.read_text("ascii"))).id
        if not renew:
            return replica
    elif renew:
        raise ValueError(f"{certificate} is not there, so it cannot be renewed; leave out --renew")
    authority.issue_replica(name, replica).save(certificate, directory / f"{name}.key")
    return replica

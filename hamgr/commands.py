"""`hamgrd`: the entry point, and what it does besides running: certificates, data folders, checks.

1. Nothing that is there already is changed, but by `make-certificates --renew`.
2. Only `run` pays for what only a running replica needs.
"""

import json
import ssl
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from hamgr import config, tokens
from hamgr.config import ConfigError
from hamgr.membership import credentials_of, raft_settings
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.settings import InvalidSettings, check_address
from hamgr.raft.store import identity
from hamgr.raft.store.check import examine
from hamgr.security.authority import Authority, identity_of

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits(3): systemd does not restart what cannot start (RestartPreventExitStatus)."""
EXIT_DAMAGED = 65
"""EX_DATAERR of sysexits(3)."""

CONFIG = Path("/etc/hamgr/hamgrd.yaml")
FILE = click.Path(path_type=Path)
JSON_OR_TEXT = click.Choice(["text", "json"])


def fail(error: object, status: int = 1) -> NoReturn:
    """Say what is wrong, and end."""
    for line in str(error).splitlines():
        click.echo(f"hamgrd: {line}", err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hamgr")
def main() -> None:
    """One replica of hamgr. Operators use `hamgr`; this is what systemd starts."""


@main.command()
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
def run(path: Path) -> None:
    """Run the replica in the foreground until SIGTERM; SIGHUP has it read its certificates again.

    Example: hamgrd run --config /etc/hamgr/hamgrd.yaml
    """
    from hamgr import daemon  # noqa: PLC0415 - more than a second that the other commands need not wait

    daemon.run(path)


@main.command()
@click.option(
    "--config", "paths", type=FILE, multiple=True, default=[CONFIG], show_default=True,
    help="The replica's configuration; may be given more than once.",
)  # fmt: skip
def init(paths: Sequence[Path]) -> None:
    """Make the data folder of a new replica, once.

    A replica whose folder is gone, or is another one than its peers know, is refused: it would have forgotten
    what it promised. It is removed from the cluster and comes back as a new replica with a new certificate.

    \b
    Examples:
      hamgrd init
      hamgrd init --config r1.yaml --config r2.yaml --config r3.yaml
    """
    for path in paths:
        try:
            settings = config.load(path)
            owner = credentials_of(settings).identity()
            identity.create(settings.raft_dir, cluster=owner.cluster, replica=ReplicaId(owner.id))
        except ConfigError as error:
            fail(error, EXIT_CONFIGURATION)
        except CannotStart as error:
            fail(error)
        click.echo(
            f"{settings.raft_dir}: made for replica {settings.name}; start it: hamgrd run --config {path}"
        )


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


@main.command("make-certificates")
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


@main.command()
@click.argument("directory", type=FILE)
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def check(directory: Path, output: str) -> None:
    """Read what a stopped replica has stored in DIRECTORY, and say what can be trusted. Changes nothing.

    Ends with status 65 when something is damaged, and with 1 when the replica runs.

    \b
    Examples:
      hamgrd check /var/lib/hamgr
      hamgrd check /var/lib/hamgr -o json | jq .damages
    """
    report = examine(directory)
    click.echo(json.dumps(report.to_dict(), indent=2) if output == "json" else "\n".join(report.lines()))
    if report.running:
        sys.exit(1)
    if report.damages:
        sys.exit(EXIT_DAMAGED)


@main.command("check-config")
@click.argument("path", type=FILE)
def check_config(path: Path) -> None:
    """Read a configuration, and the certificate and token that it names; say what is wrong with them.

    Example: hamgrd check-config /etc/hamgr/hamgrd.yaml
    """
    try:
        settings = config.load(path)
        tokens.load(settings.token_file)
        credentials = credentials_of(settings)
        owner = credentials.identity()
        credentials.server_context()
        raft_settings(settings, owner, version="")
    except (ConfigError, CannotStart) as error:
        fail(error, EXIT_CONFIGURATION)
    click.echo(
        f"{path}: replica {settings.name} ({owner.id}) with {len(settings.others)} others; "
        f"its certificate is good until {owner.not_after:%Y-%m-%d}; nothing to complain about"
    )


if __name__ == "__main__":
    main()

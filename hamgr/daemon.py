"""hamgrd: one replica, composed here and nowhere else (STYLE 14).

Start order: configuration, data folder, consensus, SSH, manager, API. Stop order is the reverse, in one
function, and a stop leaves what runs on nodes alone: another replica adopts it.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import click
import uvloop

from backends.blobs import BlobError, BlobStore
from backends.ssh.executor import SSHExecutor
from backends.ssh.settings import SSHSettings
from hamgr import api, config, failpoints, guard
from hamgr.archives import ReplicaArchives
from hamgr.bundles import load as load_bundle
from hamgr.clock import SystemClock
from hamgr.config import Config, ConfigError
from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.logs import NodeLogs
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.scripts import BundleScripts
from hamgr.jobs.worker import Tools
from hamgr.manager import Manager
from hamgr.raft.port import CannotStart
from hamgr.raft.settings import StockSettings
from hamgr.raft.stock import StockReplica

log = logging.getLogger("hamgrd")

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits(3): systemd does not restart what cannot start (RestartPreventExitStatus)."""

EXIT_REPLICA_FAILED = 70
"""EX_SOFTWARE: damaged files or a bug; systemd starts the replica again, and the log says why."""


def replica_of(settings: Config) -> StockReplica:
    """Return the replica that a configuration describes, not yet started.

    A replica that fails later ends the process, so that systemd starts a new one: it must not idle.
    """
    return StockReplica(
        StockSettings(
            name=settings.name,
            address=settings.raft,
            peers={name: (peer.raft, f"http://{peer.api}") for name, peer in settings.peers.items()},
            password=config.secret(settings.password_file),
            data_dir=settings.data_dir / "raft",
        ),
        on_failure=_end_of_replica,
    )


def _end_of_replica(why: str) -> None:
    log.critical("the replica cannot go on: %s", why)
    os._exit(EXIT_REPLICA_FAILED)


@contextlib.asynccontextmanager
async def running(settings: Config) -> AsyncIterator[StockReplica]:
    """Run one replica for as long as the context is open."""
    clock = SystemClock()
    replica = replica_of(settings)
    token = config.secret(settings.token_file)
    blobs = BlobStore(settings.data_dir / "blobs")
    executor = SSHExecutor(SSHSettings(client_key_paths=settings.ssh.keys))
    tools = Tools(
        replica=replica,
        proposer=Proposer(replica=replica, clock=clock, new_id=lambda: uuid.uuid4().hex),
        executor=executor,
        scripts=BundleScripts(ReplicaArchives(store=blobs, replica=replica, token=token)),
        clock=clock,
        failpoints=failpoints.from_environment(os.environ),
        settings=AttemptSettings(unreachable_deadline_s=settings.ssh.unreachable_deadline_s),
    )
    context = api.ApiContext(
        replica=replica,
        blobs=blobs,
        load_bundle=load_bundle,
        logs=NodeLogs(replica=replica, executor=executor),
        token=token,
        token_sha256=hashlib.sha256(token.encode()).digest(),
        name=settings.name,
        version=version("hamgr"),
        clock=clock,
        new_request_id=lambda: uuid.uuid4().hex,
        api=f"http://{settings.api}",
    )
    await replica.start()
    manager = asyncio.create_task(Manager(tools=tools, new_cluster=secrets.token_hex(4)).run())
    try:
        async with api.serving(api.build_app(context), settings.api):
            yield replica
    finally:
        manager.cancel()
        await asyncio.gather(manager, return_exceptions=True)
        await executor.close()
        await replica.stop()


async def serve(settings: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings):
        log.info("replica %s serves its API on %s", settings.name, settings.api)
        notify("READY=1")
        await stop.wait()
        notify("STOPPING=1")


def notify(message: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hamgr")
def main() -> None:
    """One replica of hamgr. Operators use `hamgr`; this is what systemd starts."""


@main.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/etc/hamgr/hamgrd.yaml"),
    show_default=True,
    help="The replica's configuration.",
)
def run(path: Path) -> None:
    """Run the replica in the foreground until SIGTERM.

    Example: hamgrd run --config /etc/hamgr/hamgrd.yaml
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    if foreign := guard.complaint():
        click.echo(f"hamgrd: {foreign}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    try:
        settings = config.load(path)
        uvloop.run(serve(settings))
    except (ConfigError, BlobError, ValueError) as error:
        click.echo(f"hamgrd: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except (CannotStart, OSError) as error:
        click.echo(f"hamgrd: {error}", err=True)
        sys.exit(1)


@main.command("check-config")
@click.argument("path", type=click.Path(path_type=Path))
def check_config(path: Path) -> None:
    """Read a configuration and say what is wrong with it.

    Example: hamgrd check-config /etc/hamgr/hamgrd.yaml
    """
    try:
        settings = config.load(path)
        config.secret(settings.password_file)
        config.secret(settings.token_file)
    except ConfigError as error:
        click.echo(f"hamgrd: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    click.echo(
        f"{path}: replica {settings.name} with {len(settings.peers)} others; nothing to complain about"
    )


if __name__ == "__main__":
    main()

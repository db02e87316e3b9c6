"""hamgrd: one replica, composed here and nowhere else (STYLE 14).

Start order: configuration, certificate, consensus, manager, API. Stop order is the reverse, in one
function, and a stop leaves what runs on nodes alone: another replica adopts it.
"""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from backends.blobs import BlobError, BlobStore
from backends.ssh.settings import SSHSettings
from backends.ssh.threaded import ThreadedSSHExecutor
from hamgr import api, config, doctor, failpoints, guard, tokens
from hamgr.admission import FileAdmission
from hamgr.archives import ReplicaArchives
from hamgr.autopilot.driver import Autopilot
from hamgr.autopilot.probes import ReplicaProbes
from hamgr.backup.service import BackupService, Sources
from hamgr.bundles import load as load_bundle
from hamgr.clock import SystemClock
from hamgr.commands import EXIT_CONFIGURATION, fail, main
from hamgr.config import HTTPS, Config, ConfigError, api_url
from hamgr.ids import id_maker
from hamgr.jobs.adhoc import Adhoc
from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.logs import NodeLogs
from hamgr.jobs.lookout import Lookout
from hamgr.jobs.previews import BundlePreviews
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.scripts import BundleScripts
from hamgr.jobs.worker import Tools
from hamgr.logs.guarded import GuardedExecutor, RecentOutputs
from hamgr.logs.keeper import LogKeeper
from hamgr.logs.shelf import Shelf
from hamgr.logs.sources import ReplicaPeerLogs
from hamgr.logs.store import LogStore
from hamgr.manager import Manager
from hamgr.membership import credentials_of, raft_settings
from hamgr.presence.service import PresenceService
from hamgr.raft.port import CannotStart
from hamgr.raft.replica import RaftReplica
from hamgr.recovery.switching import unfinished
from hamgr.renewal import keep_renewed
from hamgr.transport import ApiTLS
from hamgr.upgrade.restarting import restarting_of
from hamgr.upgrade.service import UpgradeService
from statemachine.cluster_commands import ReportReplica

if TYPE_CHECKING:
    from hamgr.vip.service import VIPService

log = logging.getLogger("hamgrd")

EXIT_REPLICA_FAILED = 70
"""EX_SOFTWARE: damaged files or a bug; systemd starts the replica again, and the log says why."""

SWITCH_INTERVAL_S = 0.0005
"""How long one thread may keep the other from the interpreter: consensus must not wait for the API."""


def replica_of(settings: Config) -> RaftReplica:
    """Return the replica that a configuration describes, not yet started.

    A replica that fails later ends the process, so that systemd starts a new one: it must not idle.
    """
    owner = credentials_of(settings).identity()
    return RaftReplica(
        raft_settings(settings, owner, version=version("hamgr")),
        on_failure=_end_of_replica,
    )


def _shelf_of(settings: Config) -> Shelf:
    kept = settings.logs
    store = LogStore(settings.data_dir / "logs", bytes_max=kept.bytes_max, reserve_bytes=kept.reserve_bytes)
    return Shelf(store)


def _vip_of(settings: Config, replica: RaftReplica) -> "VIPService | None":
    if settings.vip is None:
        return None
    from hamgr.vip.service import VIPService  # noqa: PLC0415 - pyroute2 takes 24 MB, for those that have a VIP

    return VIPService(settings.vip, replica, election_s_min=settings.timers.election_s_min)


def _autopilot_of(
    settings: Config, replica: RaftReplica, tools: Tools, *, token: str, tls: ApiTLS
) -> Autopilot:
    credentials = credentials_of(settings)
    return Autopilot(
        pace=settings.autopilot.pace(),
        replica=replica,
        members=replica.members,
        probes=ReplicaProbes(replica=replica, credentials=credentials, token=token, tls=tls.client),
        proposer=tools.proposer,
        clock=tools.clock,
    )


def _serving(
    settings: Config,
    context: api.ApiContext,
    tls: ApiTLS,
    doors: Sequence[tuple[socket.socket, ssl.SSLContext]],
) -> contextlib.AbstractAsyncContextManager[str]:
    secure = settings.api.startswith(HTTPS)
    address = settings.api.removeprefix(HTTPS)
    return api.serving(api.build_app(context), address, tls=tls.server if secure else None, doors=doors)


def _backups_of(
    settings: Config, replica: RaftReplica, tools: Tools, archives: ReplicaArchives, blobs: BlobStore
) -> BackupService | None:
    if settings.backup is None:
        return None
    key = settings.ssh.keys[0]
    sources = Sources(
        cluster=credentials_of(settings).identity().cluster,
        replica=replica,
        version=version("hamgr"),
        files={
            "token": settings.token_file,
            "id_ed25519": key,
            "id_ed25519.pub": key.with_suffix(".pub"),
        },
        fetch=archives.fetch,
        stored=blobs.get,
    )

    async def tell(kind: str, message: str) -> None:
        await tools.proposer.settle(
            tools.proposer.make(ReportReplica, name=settings.name, kind=kind, message=message)
        )

    return BackupService(settings.backup, sources, tell=tell)


def _end_of_replica(why: str) -> None:
    log.critical("the replica cannot go on: %s", why)
    os._exit(EXIT_REPLICA_FAILED)


@contextlib.asynccontextmanager
async def running(settings: Config, tls: ApiTLS, path: Path) -> AsyncIterator[RaftReplica]:
    """Run one replica for as long as the context is open."""
    clock = SystemClock()
    replica = replica_of(settings)
    vip = _vip_of(settings, replica)
    known = tokens.load(settings.token_file)
    token = known[0].secret
    blobs = BlobStore(settings.data_dir / "blobs")
    nodes = ThreadedSSHExecutor(
        SSHSettings(client_key_paths=settings.ssh.keys).within(settings.ssh.unreachable_deadline_s),
        new_loop=uvloop.new_event_loop,
    )
    recent = RecentOutputs()
    executor = GuardedExecutor(nodes, replica=replica, recent=recent)
    keeper = LogKeeper(
        replica=replica,
        executor=executor,
        shelf=_shelf_of(settings),
        peers=ReplicaPeerLogs(replica=replica, token=token, tls=tls.client),
        recent=recent,
        attempt_bytes_max=settings.logs.attempt_bytes_max,
    )
    archives = ReplicaArchives(store=blobs, replica=replica, token=token, tls=tls.client)
    scripts = BundleScripts(archives)
    tools = Tools(
        replica=replica,
        proposer=Proposer(replica=replica, clock=clock, new_id=id_maker()),
        executor=executor,
        scripts=scripts,
        clock=clock,
        failpoints=failpoints.from_environment(os.environ),
        settings=AttemptSettings(unreachable_deadline_s=settings.ssh.unreachable_deadline_s),
        before_fence=keeper.rescue,
        conceal=executor.conceal,
    )
    presence = PresenceService(
        settings.presence,
        replica=replica,
        members=replica.members,
        proposer=tools.proposer,
        executor=executor,
        clock=clock,
        token=token,
        tls=tls.client,
    )
    autopilot = _autopilot_of(settings, replica, tools, token=token, tls=tls)
    backups = _backups_of(settings, replica, tools, archives, blobs)
    members = replica.members if vip is None else vip.members
    upgrade = UpgradeService(
        settings.upgrade,
        replica=replica,
        members=members,
        proposer=tools.proposer,
        archives=archives,
        restarting=restarting_of(settings.upgrade.restart),
        clock=clock,
        data_dir=settings.data_dir,
        config=path,
        version=version("hamgr"),
    )
    context = api.ApiContext(
        replica=replica,
        members=members,
        blobs=blobs,
        load_bundle=load_bundle,
        logs=NodeLogs(replica=replica, executor=executor, kept=keeper),
        lookout=Lookout(executor=executor, previews=BundlePreviews(scripts)),
        adhoc=Adhoc(executor=executor),
        token=token,
        actors={one.sha256: one.actor for one in known},
        name=settings.name,
        version=version("hamgr"),
        clock=clock,
        new_request_id=id_maker(),
        api=api_url(settings.api),
        peer_tls=tls.client,
        presence=presence,
        vip=vip,
        upgrade=upgrade,
        admission=FileAdmission.of(settings),
        autopilot=autopilot if settings.autopilot.enabled else None,
        backups=backups,
        doctor=lambda: doctor.examine(settings),
        contact_age_s=lambda: replica.contact_age_s,
    )
    doors = [] if vip is None else vip.doors(credentials_of(settings))
    await replica.start()
    manager = asyncio.create_task(Manager(tools=tools, new_cluster=secrets.token_hex(4)).run())
    keeping = asyncio.create_task(keeper.run())
    watching = asyncio.create_task(presence.run())
    steering = [asyncio.create_task(autopilot.run())] if settings.autopilot.enabled else []
    if backups is not None:
        steering.append(asyncio.create_task(backups.run()))
    upgrading = asyncio.create_task(upgrade.run())
    try:
        async with (
            _serving(settings, context, tls, doors),
            contextlib.nullcontext() if vip is None else vip.running(),
        ):
            yield replica
    finally:
        duties = (*steering, upgrading, watching, keeping, manager)
        for task in duties:
            task.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await executor.close()
        await replica.stop()


async def serve(settings: Config, path: Path) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the certificates read again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = ApiTLS(credentials_of(settings))
    async with running(settings, tls, path) as replica:

        def reload() -> None:
            replica.reload(credentials_of(settings))
            tls.reload()

        loop.add_signal_handler(signal.SIGHUP, reload)
        renewing = asyncio.create_task(keep_renewed(settings, reload))
        gc.freeze()  # what is here now stays: full collections, which hold up both threads, pass it over
        log.info("replica %s serves its API on %s", settings.name, settings.api)
        notify("READY=1")
        await stop.wait()
        renewing.cancel()
        notify("STOPPING=1")


def notify(message: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


def run(path: Path) -> None:
    """Run the replica that the configuration describes, until SIGTERM; errors end the process."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if foreign := guard.complaint():
        fail(foreign, EXIT_CONFIGURATION)
    try:
        settings = config.load(path)
        if why := unfinished(settings.data_dir):
            fail(why, EXIT_CONFIGURATION)
        uvloop.run(serve(settings, path))
    except (ConfigError, BlobError, ValueError) as error:
        fail(error, EXIT_CONFIGURATION)
    except (CannotStart, OSError) as error:
        fail(error)


if __name__ == "__main__":
    main()

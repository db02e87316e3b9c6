"""The parts of one replica, put together from its configuration; nothing runs yet (STYLE 14)."""

import logging
import os
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from backends.blobs import BlobStore
from backends.ssh.settings import SSHSettings
from backends.ssh.threaded import ThreadedSSHExecutor
from hamgr import api, doctor, failpoints, interpreter, tokens
from hamgr.admission import FileAdmission
from hamgr.archives import ReplicaArchives
from hamgr.autopilot.driver import Autopilot
from hamgr.autopilot.probes import ReplicaProbes
from hamgr.backup.service import BackupService, Sources
from hamgr.bundles import load as load_bundle
from hamgr.clock import SystemClock
from hamgr.config import Config, api_url
from hamgr.fencing.drill import Drill
from hamgr.fencing.runner import CommandFence
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
from hamgr.raft.port import Membership
from hamgr.raft.replica import RaftReplica
from hamgr.transport import ApiTLS
from hamgr.upgrade.restarting import restarting_of
from hamgr.upgrade.service import UpgradeService
from statemachine.cluster_commands import ReportReplica

if TYPE_CHECKING:
    from hamgr.vip.service import VIPService

log = logging.getLogger("hamgrd")

EXIT_REPLICA_FAILED = 70
"""EX_SOFTWARE: damaged files or a bug; systemd starts the replica again, and the log says why."""

REPORT_S = 5.0

Duty = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One replica.

    Attributes:
        duties: What runs for as long as the replica does, in the order in which it is begun.
    """

    replica: RaftReplica
    executor: GuardedExecutor
    vip: "VIPService | None"
    context: api.ApiContext
    duties: Sequence[Duty]


def compose(settings: Config, tls: ApiTLS, path: Path) -> Parts:
    """Return the parts of the replica that the configuration at `path` describes.

    Raises:
        ConfigError, BlobError, ValueError, OSError: A file that it names cannot be used.
    """
    made = _Composition(settings, tls, path)
    duties: list[Duty] = [
        Manager(tools=made.tools, new_cluster=secrets.token_hex(4)).run,
        made.keeper.run,
        made.presence.run,
        made.upgrade.run,
        partial(interpreter.collect_when_quiet, lambda: bool(made.replica.state.running)),
    ]
    herald = None if made.vip is None else made.vip.herald(made.tell)
    optional = (made.autopilot, made.drill, made.backups, herald)
    duties += [one.run for one in optional if one is not None]
    return Parts(
        replica=made.replica, executor=made.executor, vip=made.vip, context=made.context(), duties=duties
    )


def replica_of(settings: Config) -> RaftReplica:
    """Return the replica that a configuration describes, not yet started.

    A replica that fails later ends the process, so that systemd starts a new one: it must not idle.
    """
    owner = credentials_of(settings).identity()
    return RaftReplica(
        raft_settings(settings, owner, version=version("hamgr")),
        on_failure=_end_of_replica,
    )


def _end_of_replica(why: str) -> None:
    log.critical("the replica cannot go on: %s", why)
    os._exit(EXIT_REPLICA_FAILED)


class _Composition:
    """Makes each part once, when the first other one needs it."""

    def __init__(self, settings: Config, tls: ApiTLS, path: Path) -> None:
        self.settings, self._tls, self._path = settings, tls, path
        self.clock = SystemClock()
        self.replica = replica_of(settings)
        self.vip = _vip_of(settings, self.replica)
        self._known = tokens.load(settings.token_file)
        self._token = self._known[0].secret
        self._blobs = BlobStore(settings.data_dir / "blobs")
        self._recent = RecentOutputs()

    @property
    def members(self) -> Membership:
        return self.replica.members if self.vip is None else self.vip.members

    @cached_property
    def executor(self) -> GuardedExecutor:
        ssh = self.settings.ssh
        nodes = ThreadedSSHExecutor(
            SSHSettings(client_key_paths=ssh.keys).within(ssh.unreachable_deadline_s),
            new_loop=uvloop.new_event_loop,
        )
        return GuardedExecutor(nodes, replica=self.replica, recent=self._recent)

    @cached_property
    def keeper(self) -> LogKeeper:
        return LogKeeper(
            replica=self.replica,
            executor=self.executor,
            shelf=_shelf_of(self.settings),
            peers=ReplicaPeerLogs(replica=self.replica, token=self._token, tls=self._tls.client),
            recent=self._recent,
            attempt_bytes_max=self.settings.logs.attempt_bytes_max,
        )

    @cached_property
    def archives(self) -> ReplicaArchives:
        return ReplicaArchives(
            store=self._blobs, replica=self.replica, token=self._token, tls=self._tls.client
        )

    @cached_property
    def scripts(self) -> BundleScripts:
        return BundleScripts(self.archives)

    @cached_property
    def tools(self) -> Tools:
        return Tools(
            replica=self.replica,
            proposer=Proposer(replica=self.replica, clock=self.clock, new_id=id_maker()),
            executor=self.executor,
            scripts=self.scripts,
            clock=self.clock,
            failpoints=failpoints.from_environment(os.environ),
            settings=AttemptSettings(unreachable_deadline_s=self.settings.ssh.unreachable_deadline_s),
            before_fence=self.keeper.rescue,
            conceal=self.executor.conceal,
        )

    @cached_property
    def presence(self) -> PresenceService:
        return PresenceService(
            self.settings.presence,
            replica=self.replica,
            members=self.replica.members,
            proposer=self.tools.proposer,
            executor=self.executor,
            clock=self.clock,
            token=self._token,
            tls=self._tls.client,
        )

    @cached_property
    def autopilot(self) -> Autopilot | None:
        if not self.settings.autopilot.enabled:
            return None
        credentials = credentials_of(self.settings)
        return Autopilot(
            pace=self.settings.autopilot.pace(),
            replica=self.replica,
            members=self.replica.members,
            probes=ReplicaProbes(
                replica=self.replica, credentials=credentials, token=self._token, tls=self._tls.client
            ),
            proposer=self.tools.proposer,
            clock=self.clock,
            fence=self.fence,
        )

    @cached_property
    def fence(self) -> CommandFence | None:
        return None if self.settings.fencing is None else CommandFence(self.settings.fencing)

    @cached_property
    def drill(self) -> Drill | None:
        if self.settings.fencing is None or self.fence is None:
            return None
        return Drill(
            self.settings.fencing,
            self.fence,
            me=credentials_of(self.settings).identity().id,
            replica=self.replica,
            members=self.replica.members,
            clock=self.clock,
            tell=self.report,
        )

    @cached_property
    def upgrade(self) -> UpgradeService:
        return UpgradeService(
            self.settings.upgrade,
            replica=self.replica,
            members=self.members,
            proposer=self.tools.proposer,
            archives=self.archives,
            restarting=restarting_of(self.settings.upgrade.restart),
            clock=self.clock,
            data_dir=self.settings.data_dir,
            config=self._path,
            version=version("hamgr"),
        )

    @cached_property
    def backups(self) -> BackupService | None:
        if self.settings.backup is None:
            return None
        key = self.settings.ssh.keys[0]
        sources = Sources(
            cluster=credentials_of(self.settings).identity().cluster,
            replica=self.replica,
            version=version("hamgr"),
            files={
                "token": self.settings.token_file,
                "id_ed25519": key,
                "id_ed25519.pub": key.with_suffix(".pub"),
            },
            fetch=self.archives.fetch,
            stored=self._blobs.get,
        )
        return BackupService(self.settings.backup, sources, tell=self.tell)

    async def tell(self, kind: str, message: str) -> None:
        """Make an event of this replica."""
        proposer = self.tools.proposer
        await proposer.settle(
            proposer.make(ReportReplica, name=self.settings.name, kind=kind, message=message)
        )

    async def report(self, kind: str, message: str) -> None:
        """Make an event of this replica, whoever leads."""
        command = self.tools.proposer.make(ReportReplica, name=self.settings.name, kind=kind, message=message)
        await self.replica.propose(command, timeout_s=REPORT_S)

    def context(self) -> api.ApiContext:
        """Return what the API is built with."""
        return api.ApiContext(
            replica=self.replica,
            members=self.members,
            blobs=self._blobs,
            load_bundle=load_bundle,
            logs=NodeLogs(replica=self.replica, executor=self.executor, kept=self.keeper),
            lookout=Lookout(executor=self.executor, previews=BundlePreviews(self.scripts)),
            adhoc=Adhoc(executor=self.executor),
            token=self._token,
            actors={one.sha256: one.actor for one in self._known},
            name=self.settings.name,
            version=version("hamgr"),
            clock=self.clock,
            new_request_id=id_maker(),
            api=api_url(self.settings.api),
            peer_tls=self._tls.client,
            presence=self.presence,
            vip=self.vip,
            upgrade=self.upgrade,
            admission=FileAdmission.of(self.settings),
            autopilot=self.autopilot,
            backups=self.backups,
            fencing=self.drill,
            doctor=lambda: doctor.examine(self.settings),
            contact_age_s=lambda: self.replica.contact_age_s,
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

"""What one machine can tell of its own replica: files, certificate, folder, addresses, disk."""

import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hamgr.config import HTTPS, Config
from hamgr.doctor.findings import Finding, fail, ok, warn
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store import identity
from hamgr.security.authority import PeerIdentity

DAYS_WARN = 30
FREE_WARN_BYTES, FREE_FAIL_BYTES = 2 * 1024**3, 256 * 1024**2
SYNCS = 100
SYNC_BYTES = 4_096
SYNC_S_MAX = 10.0
"""Of measuring; a disk that is so slow has been found out before that."""
SYNC_WARN_S = 0.1
"""As the alert HamgrDiskSlow has it."""


def findings(settings: Config, *, running: bool = False) -> Iterator[Finding]:
    """Look at everything; with `running` it is this very replica that looks.

    The disk is measured by `SYNCS` small writes of a file of its own, next to the journal.
    """
    yield from _modes(settings)
    try:
        owner = credentials_of(settings).identity()
        credentials_of(settings).server_context()
    except CannotStart as error:
        yield fail("certificate", str(error), "see `A certificate is about to expire` in docs/operating.md")
        owner = None
    if owner is not None:
        yield _certificate(settings, owner)
        yield _folder(settings, owner)
    for what, address in (("raft", settings.raft), ("api", settings.api)):
        yield _address(what, address.removeprefix(HTTPS), running=running)
    if settings.fencing is not None:
        yield _fencing(Path(settings.fencing.command[0]))
    yield _free(settings.data_dir)
    yield _sync(settings)


def _modes(settings: Config) -> Iterator[Finding]:
    paths = [settings.tls.key, settings.token_file, *settings.ssh.keys]
    paths += [settings.tls.authority_key] if settings.tls.authority_key is not None else []
    wrong = []
    for path in paths:
        try:
            if path.stat().st_mode & 0o077:
                wrong.append(str(path))
        except OSError as error:
            yield fail(
                "files", f"{path} cannot be read: {error.strerror}", "put it back, or correct its name"
            )
    if wrong:
        yield fail("files", f"others may read {', '.join(wrong)}", f"chmod 600 {' '.join(wrong)}")
    else:
        yield ok("files", "secrets are for their owner only")


def _certificate(settings: Config, owner: PeerIdentity) -> Finding:
    days = (owner.not_after - datetime.now(UTC)).days
    by_itself = settings.tls.authority_key is not None
    how = "it is renewed by itself" if by_itself else "it is renewed by hand"
    if days < DAYS_WARN:
        way_out = "hamgrd renew-certificate && systemctl reload hamgrd"
        if not by_itself:
            way_out = "hamgrd make-certificates --renew, where the authority is"
        return warn("certificate", f"it ends in {days} days", way_out)
    return ok("certificate", f"good until {owner.not_after:%Y-%m-%d}; {how}")


def _folder(settings: Config, owner: PeerIdentity) -> Finding:
    try:
        found = identity.load(settings.raft_dir, cluster=owner.cluster, replica=ReplicaId(owner.id))
    except CannotStart as error:
        return fail("data folder", str(error), "see `A replica lost its disk` in docs/operating.md")
    return ok("data folder", f"it is this replica's; starts so far: {found.starts}")


def _address(what: str, address: str, *, running: bool) -> Finding:
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((bare, int(port)))
            one.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                if running:
                    return ok(what, f"{address} is served")
                way_out = "if that is not hamgrd, stop it or choose another port: ss -ltnp"
                return warn(what, f"somebody listens at {address}", way_out)
            way_out = "correct the configuration, or give this machine that address"
            return fail(what, f"{address} cannot be used here: {error.strerror}", way_out)
    if running:
        return fail(what, f"nobody listens at {address}", "restart hamgrd, and look in its log")
    return ok(what, f"{address} is this machine's, and free")


def _fencing(command: Path) -> Finding:
    if not command.is_file():
        return fail("fencing", f"{command} is not there", "correct fencing.command, or install it")
    if not os.access(command, os.X_OK):
        return fail("fencing", f"{command} cannot be executed", f"chmod 755 {command}")
    return ok("fencing", f"{command} is there; hamgrd tests it when two replicas vote")


def _free(data_dir: Path) -> Finding:
    try:
        free = shutil.disk_usage(data_dir).free
    except OSError as error:
        return fail("disk space", f"{data_dir}: {error.strerror}", "make the folder: `hamgrd init` or `join`")
    says = f"{free // 1024**2} MB are free at {data_dir}"
    if free < FREE_FAIL_BYTES:
        return fail("disk space", says, "make room: a replica whose disk is full stops")
    if free < FREE_WARN_BYTES:
        return warn("disk space", says, "make room before it is needed")
    return ok("disk space", says)


def _sync(settings: Config) -> Finding:
    try:
        p99_s = sync_p99_s(settings.data_dir)
    except OSError as error:
        return fail("disk sync", f"{settings.data_dir}: {error.strerror}", "see who may write there")
    says = f"99 of 100 small writes are on the disk within {p99_s * 1000:.1f} ms"
    if p99_s > settings.timers.election_s_min:
        return fail(
            "disk sync",
            says,
            "that is longer than an election time-out: use another disk, or raise the timers",
        )
    if p99_s > SYNC_WARN_S:
        return warn("disk sync", says, "see `The disk is slow` in docs/operating.md")
    return ok("disk sync", says)


def sync_p99_s(folder: Path) -> float:
    """Return within how many seconds 99 of 100 small writes are on the disk of `folder`; raises `OSError`."""
    took: list[float] = []
    until = time.monotonic() + SYNC_S_MAX
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor-") as file:
        while len(took) < SYNCS and time.monotonic() < until:
            begun = time.monotonic()
            os.write(file.fileno(), bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - begun)
    return sorted(took)[max(0, len(took) * 99 // 100 - 1)]

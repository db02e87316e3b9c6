"""Where the files of a replica are, and how they are written: durably, and never half."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hamgr.config import HTTPS
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store import identity

ETC, DATA = Path("/etc/hamgr"), Path("/var/lib/hamgr")
UNIT = Path("/etc/systemd/system/hamgrd.service")
FILES = (
    "ca.crt",
    "ca.key",
    "replica.crt",
    "replica.key",
    "token",
    "id_ed25519",
    "id_ed25519.pub",
    "backup.key",
)


class CannotBegin(Exception):
    """This machine cannot become a replica so; the message is one sentence and its way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where one replica has its files.

    Attributes:
        unit: Where its systemd unit goes; None for none.
    """

    etc: Path = ETC
    data: Path = DATA
    unit: Path | None = UNIT

    @property
    def config(self) -> Path:
        return self.etc / "hamgrd.yaml"

    @property
    def draft(self) -> Path:
        """The configuration before it is in force."""
        return self.etc / "hamgrd.yaml.new"

    @property
    def raft(self) -> Path:
        return self.data / "raft"

    def check_unused(self) -> None:
        """Return if there is no replica on this machine, or only what a killed attempt has left.

        Raises:
            CannotBegin: There is one, or something else is in the way.
        """
        if self.config.exists():
            raise CannotBegin(
                f"{self.config} is there: this machine has a replica already; "
                "start it, or remove it from its cluster and move its files away"
            )
        if self.draft.exists():
            return
        for folder in (self.etc, self.data):
            found = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
            if found:
                raise CannotBegin(
                    f"{folder} is in use ({', '.join(found[:3])}); move away what is in it, or name another"
                )
            if folder.exists() and not folder.is_dir():
                raise CannotBegin(f"{folder} is not a folder; name another")

    def sweep(self, cluster: str, replica: str) -> None:
        """Remove what an attempt that was never in force has made for `replica`; other things stay."""
        if self.config.exists():
            return
        with contextlib.suppress(CannotStart):
            made = identity.load(self.raft, cluster=cluster, replica=ReplicaId(replica))
            if made.starts == 0:
                shutil.rmtree(self.raft)
        for name in (*FILES, "hamgrd.yaml", "hamgrd.yaml.new"):
            for left in (name, f".{name}", f".{name}.new", f"..{name}.new"):
                (self.etc / left).unlink(missing_ok=True)
        for folder in (self.data, self.etc):
            with contextlib.suppress(OSError):
                folder.rmdir()


def write(path: Path, data: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file durably and whole, in place of another one if there is one."""
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename(temporary, path)


def rename(before: Path, after: Path) -> None:
    """Give a file its name, durably."""
    before.replace(after)
    folder = os.open(after.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(path: Path, mode: int) -> None:
    """Make a folder with those above it, if it is not there."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)


def check_free(*addresses: str) -> None:
    """Return if all addresses (`IP:PORT`, with https:// or not) are this machine's and nobody listens there.

    Raises:
        CannotBegin: The first that is not, and why.
    """
    for address in addresses:
        host, _, port = address.removeprefix(HTTPS).rpartition(":")
        bare = host.strip("[]")
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((bare, int(port)))
                one.listen(1)
            except OSError as error:
                raise CannotBegin(
                    f"{address} cannot be used here: {error.strerror}; name a free port of this machine"
                ) from error


def own_address(towards: str = "192.0.2.1") -> str:
    """Return this machine's address on the way to `towards`; nothing is sent.

    Raises:
        CannotBegin: There is no way there.
    """
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.connect((towards, 9))
        except OSError as error:
            raise CannotBegin(
                f"this machine's address cannot be told ({error.strerror}); name it with --address"
            ) from error
        return str(one.getsockname()[0])


def own_name() -> str:
    """Return this machine's host name as a replica's name."""
    label = socket.gethostname().partition(".")[0].lower()
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in label)[:31].strip("-")
    return kept or "r1"


def with_port(address: str, port: int) -> str:
    """Return `ADDRESS:PORT`, with brackets where they belong."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@contextlib.contextmanager
def one_sentence(what: str) -> Iterator[None]:
    """Make errors of the disk a `CannotBegin`."""
    try:
        yield
    except OSError as error:
        raise CannotBegin(f"{what}: {error.filename or ''} {error.strerror or error}".strip()) from error

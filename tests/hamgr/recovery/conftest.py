"""Data folders of replicas that ran and were stopped, written without running any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.demo.layout import make_ssh_key
from hamgr import config
from hamgr.commands import main
from hamgr.membership import credentials_of
from hamgr.raft.core.library import NO_OP, REGULAR
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store import identity
from hamgr.raft.store.folder import Folder
from hamgr.security.authority import Authority
from statemachine import codec
from statemachine.commands import FoundCluster, SetGlobals
from tests.hamgr.recovery.histories import replica_id
from tests.ports import LOOPBACK, free_ports

TOKEN = "hamgr_0123456789abcdef0123456789abcdef0123456789"
AT = 1_700_000_000.0


def hamgrd(*words: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def entry(index: int) -> bytes:
    """Return the entry of the log at `index`: the first ones found the cluster, others set `x<index>`."""
    if index == 1:
        return NO_OP
    command: Any = SetGlobals(request_id=f"q-{index}", at=AT + index, actor="ann", variables={f"x{index}": 1})
    if index == 2:
        command = FoundCluster(request_id="found-1", at=AT, actor="hamgr", cluster="abcdef12")
    return REGULAR + codec.encode_command(command)


@dataclass(frozen=True, slots=True)
class Machine:
    """One replica's files."""

    config: Path
    raft: str
    api: str

    @property
    def data(self) -> Path:
        return self.config.parent / "data"

    def write(self, terms: Sequence[int], commit: int) -> None:
        """Give it a log with entries of these terms."""
        settings = config.load(self.config)
        owner = credentials_of(settings).identity()
        found = identity.load(settings.raft_dir, cluster=owner.cluster, replica=ReplicaId(owner.id))
        folder = Folder(settings.raft_dir)
        journal = folder.settle(found.folder)
        for index, term in enumerate(terms, start=journal.last + 1):
            journal.add(entry(index), index, term)
        journal.setCurrentTerm(max([journal.getCurrentTerm(), *terms]), None)
        journal.setRaftCommitIndex(max(1, commit))
        journal.sync()
        journal.close()
        folder.close()

    def report(self) -> Path:
        done = hamgrd("recover", "--report", "--config", self.config)
        assert done.exit_code == 0, done.output
        path = self.config.parent / "report.json"
        path.write_text(done.stdout)
        return path

    def files(self) -> dict[str, bytes]:
        """Return everything that is on this machine."""
        folder = self.config.parent
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ("report.json", "lock")
        }


Machines = Callable[[int], list[Machine]]


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    """Return a function that makes the machines of a cluster, with certificates and empty logs."""
    return lambda count: make_machines(tmp_path, count)


def make_machines(directory: Path, count: int) -> list[Machine]:
    authority = Authority.create()
    ports = free_ports(2 * count)
    peers = {
        f"r{n + 1}": {
            "id": replica_id(n + 1),
            "raft": f"{LOOPBACK}:{ports[2 * n]}",
            "api": f"https://{LOOPBACK}:{ports[2 * n + 1]}",
        }
        for n in range(count)
    }
    found = []
    for name, peer in peers.items():
        etc = directory / name
        etc.mkdir(mode=0o700)
        authority.issue_replica(name, peer["id"]).save(etc / "replica.crt", etc / "replica.key")
        (etc / "ca.crt").write_bytes(authority.certificate_pem)
        make_ssh_key(etc / "id_ed25519")
        (etc / "token").touch(mode=0o600)
        (etc / "token").write_text(f"{TOKEN}\n")
        settings = {
            "name": name,
            "data_dir": str(etc / "data"),
            "raft": peer["raft"],
            "api": peer["api"],
            "tls": {
                "ca": str(etc / "ca.crt"),
                "certificate": str(etc / "replica.crt"),
                "key": str(etc / "replica.key"),
            },
            "token_file": str(etc / "token"),
            "peers": peers,
            "ssh": {"keys": [str(etc / "id_ed25519")]},
        }
        path = etc / "hamgrd.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        made = hamgrd("init", "--config", path)
        assert made.exit_code == 0, made.output
        found.append(Machine(config=path, raft=peer["raft"], api=peer["api"]))
    return found

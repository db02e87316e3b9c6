"""What the tests of replication share: settings on free loopback ports, commands, waiting with a deadline."""

import asyncio
import itertools
import json
import time
import uuid
from dataclasses import asdict
from pathlib import Path

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.settings import RaftSettings, Timers
from hamgr.raft.store import identity
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import Authority
from statemachine.commands import AddNode, EditNode, SetGlobals
from statemachine.model import Endpoint
from tests.ports import free_ports

_numbers = itertools.count(1)


def certify(folder: Path, authority: Authority, name: str, replica: str) -> Credentials:
    """Write a replica's certificate and key, and the CA's certificate, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Credentials(ca=folder / "ca.crt", certificate=folder / f"{name}.crt", key=folder / f"{name}.key")
    paths.ca.write_bytes(authority.certificate_pem)
    authority.issue_replica(name, replica).save(paths.certificate, paths.key)
    return paths


def settings_of(count: int, folder: Path, *, spare: int = 0, timers=None, **more) -> list[RaftSettings]:
    """Make certificates and data folders of a new cluster; `spare` more are in no configuration yet."""
    authority = Authority.create()
    members = [
        Member(id=ReplicaId(str(uuid.uuid4())), name=f"r{n}", raft=f"127.0.0.1:{port}", api=f"http://r{n}")
        for n, port in enumerate(free_ports(count + spare), start=1)
    ]
    initial = Configuration(tuple(members[:count]))
    found = []
    for member in members:
        identity.create(folder / member.name, cluster=authority.cluster, replica=member.id)
        found.append(
            RaftSettings(
                me=member.id,
                cluster=authority.cluster,
                name=member.name,
                address=member.raft,
                api=member.api,
                initial=initial,
                data_dir=folder / member.name,
                credentials=certify(folder / "tls", authority, member.name, member.id),
                timers=timers or Timers(),
                **more,
            )
        )
    return found


def member_of(settings: RaftSettings) -> Member:
    return Member(id=settings.me, name=settings.name, raft=settings.address, api=settings.api)


def to_json(settings: RaftSettings) -> str:
    """Return settings as the argument of a process."""
    fields = {name: getattr(settings, name) for name in ("me", "cluster", "name", "address", "api")}
    return json.dumps(
        {
            **fields,
            "snapshot_entries": settings.snapshot_entries,
            "initial": membership.encode(settings.initial).hex(),
            "data_dir": str(settings.data_dir),
            "credentials": {name: str(path) for name, path in asdict(settings.credentials).items()},
            "timers": asdict(settings.timers),
        }
    )


def from_json(text: str) -> RaftSettings:
    fields = json.loads(text)
    return RaftSettings(
        **{
            **fields,
            "initial": membership.decode(bytes.fromhex(fields["initial"])),
            "data_dir": Path(fields["data_dir"]),
            "credentials": Credentials(**{n: Path(p) for n, p in fields["credentials"].items()}),
            "timers": Timers(**fields["timers"]),
        }
    )


def add_node(name: str) -> AddNode:
    return AddNode(
        request_id=f"add-{name}",
        at=1.0,
        actor="test",
        node=name,
        endpoint=Endpoint(address=f"{name}.example"),
    )


def edit_node(name: str, count: int) -> EditNode:
    return EditNode(
        request_id=f"edit-{name}-{count}", at=1.0, actor="test", node=name, labels={"n": str(count)}
    )


def set_globals(**variables) -> SetGlobals:
    return SetGlobals(request_id=f"set-{next(_numbers)}", at=1.0, actor="test", variables=variables)


async def until(condition, *, seconds: float = 45.0):
    """Wait until `condition()` (or what it awaits) is true, and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        await asyncio.sleep(0.02)

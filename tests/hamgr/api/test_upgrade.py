"""hamgr's own upgrade over HTTP: wheels are kept, all replicas are asked, none begins that cannot end."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.blobs import BlobStore
from hamgr import api
from hamgr.raft.port import Peer
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from statemachine.upgrading import UpgradePhase, UpgradeState
from statemachine.words import Digest
from tests.hamgr.api import fakes, rig
from tests.wheelwork import small_wheel

NAMES = ("r1", "r2", "r3")
MIB = 2**20


@dataclass
class Part:
    """A replica's part in upgrades, as a test wants it."""

    version: str = "1.2.0"
    release: str = "1.2.0-aaaa"
    trouble: str = ""
    room_bytes: int = 1024 * MIB
    waits: str = ""

    def about(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "release": self.release,
            "process": 1,
            "room_bytes": self.room_bytes,
            "trouble": self.trouble,
        }


class Voters(rig.NoMembers):
    configuration = Configuration(
        tuple(
            Member(
                id=ReplicaId(f"00000000-0000-4000-8000-{number:012d}"), name=name, raft=f"127.0.0.1:{number}"
            )
            for number, name in enumerate(NAMES, start=1)
        )
    )


@dataclass
class Fleet:
    """Three replicas over one log; r1 leads."""

    path: Path
    cluster: rig.Cluster
    session: aiohttp.ClientSession
    urls: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    replicas: dict[str, rig.LocalReplica] = field(default_factory=dict)
    blobs: dict[str, BlobStore] = field(default_factory=dict)

    async def ask(self, at: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.urls[at] + path, **more) as answer:
            return answer.status, await answer.json()

    async def store(self, version: str = "1.3.0", *, at: str = "r1", **more: Any) -> str:
        status, told = await self.ask(at, "POST", "/v1/upgrade/wheels", data=small_wheel(version, **more))
        assert status == 201, told
        return str(told["digest"])

    async def begin(self, *wheels: str, at: str = "r1", query: str = "", **more: Any) -> tuple[int, Any]:
        return await self.ask(at, "POST", f"/v1/upgrade{query}", json={"wheels": wheels, **more})

    def meet(self, *, silent: str = "", disconnected: str = "") -> None:
        """Have the replicas know each other; behind the address of `silent` nobody listens."""
        for me, replica in self.replicas.items():
            replica.peers = tuple(
                Peer(
                    name=name,
                    api="http://127.0.0.1:9" if name == silent else url,
                    connected=name not in (silent, disconnected),
                )
                for name, url in self.urls.items()
                if name != me
            )


@pytest.fixture
async def fleet(tmp_path: Path, cluster: rig.Cluster) -> AsyncIterator[Fleet]:
    headers = {"Authorization": f"Bearer {rig.TOKEN}"}
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        found = Fleet(tmp_path, cluster, session)
        for name in NAMES:
            part = found.parts[name] = Part()
            replica = found.replicas[name] = rig.LocalReplica(cluster, name)
            blobs = found.blobs[name] = BlobStore(tmp_path / name)
            context = rig.context(
                replica, blobs, fakes.FakeLogs(), api.Limits(), members=Voters(), upgrade=part
            )
            serving = api.serving(api.build_app(context), "127.0.0.1:0")
            found.urls[name] = await stack.enter_async_context(serving)
        found.meet()
        yield found


def refused(answer: tuple[int, Any], status: int, code: str) -> str:
    assert (answer[0], answer[1]["code"]) == (status, code), answer
    return str(answer[1]["detail"])


async def test_a_wheel_is_kept_by_every_replica_and_named_by_its_content(fleet: Fleet) -> None:
    digest = await fleet.store(at="r2")
    assert all(blobs.has(Digest(digest)) for blobs in fleet.blobs.values())
    assert fleet.cluster.state.upgrade is None


async def test_what_is_no_wheel_is_refused_and_not_kept(fleet: Fleet) -> None:
    answer = await fleet.ask("r1", "POST", "/v1/upgrade/wheels", data=b"#!/bin/sh\n")
    assert "this is no wheel" in refused(answer, 422, "bad-body")


async def test_a_wheel_that_most_replicas_cannot_keep_is_called_not_stored(fleet: Fleet) -> None:
    fleet.replicas["r1"].peers = tuple(
        Peer(name=name, api="http://127.0.0.1:9", connected=False) for name in ("r2", "r3")
    )
    answer = await fleet.ask("r1", "POST", "/v1/upgrade/wheels", data=small_wheel("1.3.0"))
    assert "1 of 3 replicas stored the wheel" in refused(answer, 503, "not-stored")


async def test_an_upgrade_begins_with_the_leader_last(fleet: Fleet) -> None:
    digest = await fleet.store()
    status, told = await fleet.begin(digest, at="r3")
    assert (status, told["version"], told["dry_run"]) == (202, "1.3.0", False)
    assert [(one["name"], one["version"], one["done"]) for one in told["replicas"]] == [
        ("r2", "1.2.0", False),
        ("r3", "1.2.0", False),
        ("r1", "1.2.0", False),
    ]
    upgrade = fleet.cluster.state.upgrade
    assert upgrade is not None
    assert (upgrade.id, list(upgrade.replicas), upgrade.wheels[0].digest) == (
        told["ref"],
        ["r2", "r3", "r1"],
        digest,
    )


async def test_a_dry_run_tells_the_same_and_begins_nothing(fleet: Fleet) -> None:
    digest = await fleet.store()
    status, told = await fleet.begin(digest, query="?dry_run=1")
    assert (status, told["dry_run"], [one["name"] for one in told["replicas"]]) == (
        200,
        True,
        ["r2", "r3", "r1"],
    )
    assert fleet.cluster.state.upgrade is None


async def test_a_replica_that_runs_the_release_already_is_done(fleet: Fleet) -> None:
    digest = await fleet.store()
    _, plan = await fleet.begin(digest, query="?dry_run=1")
    fleet.parts["r2"].release, fleet.parts["r2"].version = plan["release"], "1.3.0"
    status, _ = await fleet.begin(digest)
    upgrade = fleet.cluster.state.upgrade
    assert status == 202
    assert upgrade is not None
    assert [turn.phase for turn in upgrade.replicas.values()] == [
        UpgradePhase.DONE,
        UpgradePhase.WAITING,
        UpgradePhase.WAITING,
    ]


async def test_how_far_it_is_is_told_by_every_replica_as_the_leader_says(fleet: Fleet) -> None:
    assert await fleet.ask("r2", "GET", "/v1/upgrade") == (200, {"upgrade": None})
    await fleet.begin(await fleet.store())
    fleet.parts["r1"].waits = "r2 has not caught up"
    for name in NAMES:
        status, told = await fleet.ask(name, "GET", "/v1/upgrade")
        assert (status, told["upgrade"]["state"], told["upgrade"]["waits"]) == (
            200,
            "running",
            "r2 has not caught up",
        )


async def test_each_replica_tells_what_it_runs(fleet: Fleet) -> None:
    fleet.parts["r2"].trouble = "it was not installed as a release"
    status, told = await fleet.ask("r2", "GET", "/v1/upgrade/replica")
    assert (status, told["name"], told["version"], told["trouble"]) == (
        200,
        "r2",
        "1.2.0",
        "it was not installed as a release",
    )


async def test_an_upgrade_without_one_replicas_answer_is_refused_and_begins_nothing(fleet: Fleet) -> None:
    digest = await fleet.store()
    fleet.meet(silent="r3")
    answer = await fleet.begin(digest)
    assert refused(answer, 409, "change-refused") == "r3 did not answer, so nothing was begun"
    assert answer[1]["offenders"] == ["r3"]
    assert fleet.cluster.state.upgrade is None


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"trouble": "nothing restarts it"}, "r2: nothing restarts it; nothing was begun"),
        ({"version": "1.1.0"}, "more than one minor version later"),
        ({"version": "1.4.0"}, "1.3.0 is older"),
        ({"room_bytes": 0}, "r2: 0 MiB of its disk can be used"),
    ],
)
async def test_an_upgrade_that_one_replica_cannot_take_is_refused_and_names_it(
    fleet: Fleet, part: dict[str, Any], why: str
) -> None:
    digest = await fleet.store()
    for name, value in part.items():
        setattr(fleet.parts["r2"], name, value)
    answer = await fleet.begin(digest)
    assert why in refused(answer, 409, "change-refused")
    assert answer[1]["offenders"] == ["r2"]
    assert fleet.cluster.state.upgrade is None


async def test_an_upgrade_that_would_cost_the_majority_needs_force(fleet: Fleet) -> None:
    digest = await fleet.store()
    fleet.meet(disconnected="r3")
    answer = await fleet.begin(digest)
    assert "while r2 restarts, 1 of 3 voters are left" in refused(answer, 409, "quorum-at-risk")
    assert fleet.cluster.state.upgrade is None
    status, _ = await fleet.begin(digest, force=True)
    assert status == 202
    upgrade = fleet.cluster.state.upgrade
    assert upgrade is not None
    assert upgrade.force


async def test_wheels_that_nobody_has_or_that_are_not_hamgrs_are_refused(fleet: Fleet) -> None:
    refused(await fleet.begin("sha256:" + "0" * 64), 404, "no-such-blob")
    other = await fleet.store("9.0", name="other")
    assert "none of the wheels is hamgr's" in refused(await fleet.begin(other), 422, "bad-body")
    refused(await fleet.begin(), 422, "bad-body")
    assert fleet.cluster.state.upgrade is None


async def test_a_wheel_that_only_another_replica_has_is_fetched_from_it(fleet: Fleet) -> None:
    digest = await fleet.store()
    kept = [path for path in (fleet.path / "r1").rglob("*") if path.is_file()]
    for path in kept:
        path.unlink()
    assert kept
    assert not fleet.blobs["r1"].has(Digest(digest))
    status, told = await fleet.begin(digest)
    assert status == 202, told


async def test_a_second_upgrade_is_refused_while_one_runs_until_it_is_stopped(fleet: Fleet) -> None:
    refused(await fleet.ask("r1", "POST", "/v1/upgrade:stop"), 409, "stale-claim")
    digest = await fleet.store()
    await fleet.begin(digest)
    refused(await fleet.begin(digest), 409, "busy")
    status, _ = await fleet.ask("r2", "POST", "/v1/upgrade:stop")
    upgrade = fleet.cluster.state.upgrade
    assert status == 200
    assert upgrade is not None
    assert upgrade.state is UpgradeState.STOPPED


async def test_a_replica_without_a_part_in_upgrades_says_so(server: rig.Server) -> None:
    status, problem, _ = await server.call("GET", "/v1/upgrade/replica")
    assert (status, problem["code"]) == (503, "not-ready")

"""Machines that announce themselves: what opens the door, what costs the log nothing, and a storm."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hamgr.api.routes import announce
from statemachine.cluster_commands import MakeJoinToken, RevokeJoinToken
from statemachine.discovery_commands import ReportSighting, Sighting
from statemachine.joining import JoinsAs
from statemachine.model import Endpoint
from statemachine.words import NodeName
from tests.hamgr.api.rig import NOW, Cluster, Server, rid, serving

SECRET = "s" * 40
KEY = "ssh-ed25519 " + "A" * 68


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, Cluster()) as server:
        server.session.headers.pop("Authorization", None)
        yield server


def make_token(cluster: Cluster, secret: str = SECRET, joins_as: JoinsAs = JoinsAs.NODE, **more: Any) -> str:
    made = cluster.apply(
        MakeJoinToken(
            request_id=rid(),
            at=NOW,
            actor="ann",
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            joins_as=joins_as,
            expires_at=NOW + 600,
            **more,
        )
    )
    return str(made.ref)


def body(**more: Any) -> dict[str, Any]:
    machine = {"name": "w1", "machine_id": f"{1:032x}", "host_key": KEY, "address": "10.0.0.7"}
    return {"secret": SECRET, **machine, **more}


async def test_a_machine_with_a_token_is_discovered(server: Server) -> None:
    make_token(server.replica.cluster)
    status, told, headers = await server.call("POST", "/v1/announce", body(port=2222, user="ops"))
    assert (status, told["node"]) == (202, None)
    assert dict(headers)["Location"] == f"/v1/jobs/{told['job']}"
    (endpoint,) = server.state.jobs[told["job"]].endpoints.values()
    assert (endpoint.address, endpoint.port, endpoint.user) == ("10.0.0.7", 2222, "ops")
    (token,) = server.state.join_tokens.values()
    assert token.joined == "w1"


async def test_without_an_address_the_machine_is_where_it_called_from(server: Server) -> None:
    make_token(server.replica.cluster)
    _, told, _ = await server.call("POST", "/v1/announce", body(address=None))
    (endpoint,) = server.state.jobs[told["job"]].endpoints.values()
    assert endpoint.address == "127.0.0.1"


@pytest.mark.parametrize("kind", ["unknown", "replica", "used", "expired", "revoked", "named"])
async def test_a_token_that_does_not_fit_opens_nothing(server: Server, kind: str) -> None:
    cluster = server.replica.cluster
    secret = SECRET
    if kind == "unknown":
        secret = "x" * 40
    elif kind == "replica":
        make_token(cluster, joins_as=JoinsAs.REPLICA)
    elif kind == "named":
        make_token(cluster, name="w9")
    else:
        token = make_token(cluster)
        if kind == "revoked":
            cluster.apply(RevokeJoinToken(request_id=rid(), at=NOW, actor="ann", token=token))
        elif kind == "used":
            other = body(name="w2", host_key="ssh-ed25519 " + "B" * 68, address="10.0.0.8")
            await server.call("POST", "/v1/announce", other)
        else:
            cluster.apply(
                MakeJoinToken(
                    request_id=rid(),
                    at=NOW - 700,
                    actor="ann",
                    sha256=hashlib.sha256(b"old" * 12).hexdigest(),
                    joins_as=JoinsAs.NODE,
                    expires_at=NOW - 100,
                )
            )
            secret = "old" * 12
    jobs = dict(server.state.jobs)
    status, told, _ = await server.call("POST", "/v1/announce", body(secret=secret))
    assert (status, told["code"]) == (403, "not-allowed")
    assert server.state.jobs == jobs
    assert not server.state.nodes


async def test_who_has_no_good_token_costs_the_log_nothing(server: Server) -> None:
    before = server.state.index
    for number in range(20):
        await server.call("POST", "/v1/announce", body(secret=f"{number:040}"))
    assert server.state.index == before


async def test_a_machine_that_is_known_and_reachable_costs_the_log_nothing(server: Server) -> None:
    make_token(server.replica.cluster)
    _, told, _ = await server.call("POST", "/v1/announce", body())
    seen = Sighting(
        endpoint=Endpoint(address="10.0.0.7"), name="w1", machine_id=f"{1:032x}", host_key=KEY, epoch=0
    )
    task = NodeName("10.0.0.7:22")
    server.replica.cluster.apply(
        ReportSighting(request_id=rid(), at=NOW, actor="r1", job=told["job"], task=task, sighting=seen)
    )
    before = server.state.index
    for _ in range(5):
        status, told, _ = await server.call("POST", "/v1/announce", body())
        assert (status, told["node"], told["job"]) == (200, "w1", None)
    assert server.state.index == before
    status, told, _ = await server.call("POST", "/v1/announce", body(address="10.0.0.99"))
    assert (status, told["node"]) == (202, "w1")  # it has moved: discovery follows it


async def test_the_same_said_again_is_one_discovery(server: Server) -> None:
    make_token(server.replica.cluster)
    answers = await asyncio.gather(*(server.call("POST", "/v1/announce", body()) for _ in range(10)))
    assert {told["job"] for _, told, _ in answers} == {answers[0][1]["job"]}
    assert len(server.state.jobs) == 1


async def test_a_storm_is_few_discoveries_and_the_rest_is_told_to_come_again(
    server: Server,
) -> None:
    cluster = server.replica.cluster
    count = announce.BURST
    for number in range(count):
        make_token(cluster, secret=f"{number:040}")
    before = server.state.index

    async def one(number: int) -> int:
        key = f"ssh-ed25519 {number:068}"
        machine = {"name": f"w{number}", "machine_id": f"{number:032x}", "host_key": key}
        storm = body(
            secret=f"{number % count:040}", address=f"10.0.{number // 250}.{number % 250}", **machine
        )
        status, _, _ = await server.call("POST", "/v1/announce", storm)
        return int(status)

    statuses = await asyncio.gather(*(one(number) for number in range(600)))
    assert statuses.count(429) > 100
    assert statuses.count(202) > 100
    assert len(server.state.jobs) <= 4
    assert server.state.index - before <= 600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machine_id", "short"),
        ("host_key", "no key"),
        ("name", "-bad-"),
        ("port", 0),
        ("address", "a b"),
        ("secret", ""),
        ("more", 1),
    ],
)
async def test_a_body_that_is_none_is_refused_with_its_place(server: Server, key: str, value: Any) -> None:
    make_token(server.replica.cluster)
    before = server.state.index
    status, told, _ = await server.call("POST", "/v1/announce", body(**{key: value}))
    assert (status, told["errors"][0]["pointer"]) == (422, f"/{key}")
    assert server.state.index == before

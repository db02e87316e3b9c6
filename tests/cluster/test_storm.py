"""Five thousand machines announce themselves at once, and the cluster goes on as if they were few."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp
import pytest

from hamgr.api.routes.announce import BURST, PER_S
from hamgr.discovery.announcements import BATCH_S, RUNNING_MAX
from tests.cluster.harness import Cluster

pytestmark = pytest.mark.timeout(180)
ANNOUNCEMENTS = 5_000
CLIENTS = 64
SECRET = "s" * 40
MORE_MEMORY_BYTES_MAX = 60_000_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(tmp_path / "cluster")
    for plan in running.layout.replicas:  # who makes tokens has the authority's key
        settings = json.loads(plan.config.read_text())
        settings["tls"]["authority_key"] = str(running.directory / "pki" / "ca.key")
        plan.config.write_text(json.dumps(settings))
    try:
        running.start()
        yield running
    finally:
        running.stop()


def resident_bytes(cluster: Cluster, name: str) -> int:
    pages = Path(f"/proc/{cluster.processes.pid(name)}/statm").read_text().split()[1]
    return int(pages) * 4096


def machine(number: int) -> dict[str, Any]:
    """Return one of many machines; behind its port nobody listens, which a probe knows at once."""
    known = {"name": "w1", "machine_id": f"{1:032x}", "host_key": "ssh-ed25519 " + "A" * 68}
    return {"secret": SECRET, **known, "address": "127.0.0.1", "port": 1 + number}


async def storm(url: str, headers: dict[str, str]) -> tuple[Counter[int], list[float]]:
    """Announce all machines as fast as that goes; return the answers, and how long writes took meanwhile."""
    answers: Counter[int] = Counter()
    waits_s: list[float] = []
    left = iter(range(ANNOUNCEMENTS))
    async with aiohttp.ClientSession() as session:

        async def announce() -> None:
            for number in left:
                async with session.post(f"{url}/v1/announce", json=machine(number)) as answer:
                    await answer.read()
                    answers[answer.status] += 1

        async def write() -> None:
            while True:
                began_s = time.monotonic()
                body = {"variables": {"meanwhile": began_s}}
                async with session.patch(f"{url}/v1/globals", json=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                waits_s.append(time.monotonic() - began_s)
                await asyncio.sleep(0.02)

        writing = asyncio.create_task(write())
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(announce())
        assert not writing.done(), writing.exception()
        writing.cancel()
    return answers, waits_s


def test_what_cannot_be_looked_at_is_told_to_come_again_and_nothing_else_waits(cluster: Cluster) -> None:
    leader = cluster.wait("a leader", cluster.leader)
    token = {"for": "node", "sha256": hashlib.sha256(SECRET.encode()).hexdigest()}
    cluster.ask("POST", "/v1/tokens", token).ok()
    before = cluster.on(leader, "GET", "/v1/replica").ok()
    memory_bytes = resident_bytes(cluster, leader)
    url = next(plan.url for plan in cluster.layout.replicas if plan.name == leader)
    began_s = time.monotonic()
    answers, waits_s = asyncio.run(storm(url, {"Authorization": f"Bearer {cluster.layout.token}"}))
    took_s = time.monotonic() - began_s
    more_bytes = resident_bytes(cluster, leader) - memory_bytes
    after = cluster.on(leader, "GET", "/v1/replica").ok()
    hundredths_ms = [1e3 * wait_s for wait_s in quantiles(waits_s, n=100)]
    print(
        f"{ANNOUNCEMENTS} announcements in {took_s:.1f} s: {dict(answers)}; {len(waits_s)} writes meanwhile, "
        f"p50 {hundredths_ms[49]:.0f} ms, p99 {hundredths_ms[98]:.0f} ms; {more_bytes / 1e6:.1f} MB more"
    )
    assert sum(answers.values()) == ANNOUNCEMENTS
    assert set(answers) == {202, 429}, answers
    assert answers[202] <= BURST + PER_S * (took_s + 1), "no more than the bucket lets pass"
    entries = after["applied_index"] - before["applied_index"]
    jobs_max = (took_s / BATCH_S + 1) * 2 + RUNNING_MAX  # each begins and ends
    redeemed_max = CLIENTS  # the first ones come before the token is known to be theirs
    assert entries <= answers[202] + jobs_max + redeemed_max + len(waits_s), "refused ones cost nothing"
    assert (after["leads"], after["term"]) == (True, before["term"])
    assert more_bytes < MORE_MEMORY_BYTES_MAX
    cluster.wait("the end of it", lambda: not cluster.ask("GET", "/v1/jobs?state=running").ok()["items"])

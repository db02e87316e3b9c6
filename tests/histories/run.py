"""Records one history on a real cluster under a seed's misfortunes, and judges it."""

import asyncio
import contextlib
import itertools
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohappyeyeballs import AddrInfoType

from tests.histories import laws, linearizability
from tests.histories.client import Recorder, Target, clients
from tests.histories.cluster import SeparateCluster, separate_cluster
from tests.histories.linearizability import Finding, Verdict
from tests.histories.nemesis import Nemesis
from tests.histories.operations import History, Outcome, lines, moved
from tests.histories.schedule import Kind as Fault
from tests.histories.schedule import Misfortune, schedule

CLIENTS, WATCHERS = 10, 2
REGISTERS = 9
"""Nodes; the global variables are one more."""
SETTLE_TIMEOUT_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run came to.

    Attributes:
        plan: The schedule; `done` is what became of it.
        terms: How often leadership began.
    """

    seed: int
    plan: Sequence[Misfortune]
    done: Sequence[str]
    history: History
    findings: Sequence[Finding]
    complaints: Sequence[str]
    terms: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_well(self) -> bool:
        return not self.complaints and all(f.verdict is Verdict.LINEARIZABLE for f in self.findings)

    def line(self) -> str:
        """Return the figures in one line."""
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        configurations = sum(finding.configurations for finding in self.findings)
        verdict = "well" if self.is_well else "VIOLATED"
        return (
            f"seed {self.seed}: {verdict}; {len(self.plan)} misfortunes, {self.terms} terms; "
            f"{counts}; {configurations} configurations"
        )

    def __str__(self) -> str:
        bad = [str(finding) for finding in self.findings if finding.verdict is not Verdict.LINEARIZABLE]
        return "\n".join([self.line(), *self.done, *self.complaints, *bad])


def record(
    seed: int, *, seconds: float, faults: Sequence[Fault] = tuple(Fault), directory: Path | None = None
) -> Report:
    """Run a cluster under the misfortunes of `seed` and judge what its clients were told.

    Args:
        directory: Keeps the replicas' logs and data, and the history as `history.jsonl`.
    """
    plan = schedule(seed, seconds=seconds, kinds=faults)
    with separate_cluster(directory) as cluster:
        report = asyncio.run(_recorded(cluster, seed, plan, seconds))
    if directory is not None:
        (directory / "history.jsonl").write_text("\n".join(lines(report.history)) + "\n")
    return report


async def _recorded(
    cluster: SeparateCluster, seed: int, plan: Sequence[Misfortune], seconds: float
) -> Report:
    rng = random.Random(f"clients {seed}")
    paths, made = await asyncio.to_thread(_make_registers, cluster)
    nemesis = Nemesis(cluster, random.Random(f"nemesis {seed}"))
    before = await asyncio.to_thread(_term, cluster)
    begun_ns = time.monotonic_ns()
    async with contextlib.AsyncExitStack() as stack:
        targets = [await stack.enter_async_context(target_at(cluster, name)) for name in cluster.names]
        history = History(made=made, operations=[], stale=[], surprises=[])
        recorder = Recorder(targets=targets, paths=paths, history=history)
        async with clients(recorder, CLIENTS, rng, watchers=WATCHERS):
            await asyncio.to_thread(nemesis.run, plan, recorder.stopping.is_set)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic_ns() - begun_ns) / 1e9))
        await asyncio.to_thread(cluster.revive)
        for target, key in itertools.product(targets, paths):  # what is lost now is seen by somebody
            read = await recorder.read("last", target, key, timeout_s=10.0)
            if read.outcome is not Outcome.DONE:
                history.surprises.append(f"no answer although all is well again: {read}")
    history.surprises.extend(nemesis.deaths)
    history.surprises.extend(await asyncio.to_thread(_differences, cluster))
    history = moved(history, begun_ns)
    return Report(
        seed=seed,
        plan=plan,
        done=nemesis.done,
        history=history,
        findings=linearizability.judge(history.operations),
        complaints=laws.complaints(history),
        terms=await asyncio.to_thread(_term, cluster) - before,
        counts=Counter({"stale read": len(history.stale)})
        + Counter(f"{one.kind} {one.outcome}" for one in history.operations),
    )


def _make_registers(cluster: SeparateCluster) -> tuple[dict[str, str], dict[str, int]]:
    """Make the registers; return the resource of each, and the index at which it was made."""
    paths, made = {"globals": "/v1/globals"}, {"globals": 0}
    for number in range(1, REGISTERS + 1):
        node = f"register-{number}"
        body = {"name": node, "address": f"192.0.2.{number}"}
        made[node] = cluster.ask("POST", "/v1/nodes", body).ok()["index"]
        paths[node] = f"/v1/nodes/{node}"
    return paths, made


@contextlib.asynccontextmanager
async def target_at(cluster: SeparateCluster, name: str) -> AsyncIterator[Target]:
    """Keep connections to one replica, made at its own site: no cut comes between."""

    def make_socket(found: AddrInfoType) -> socket.socket:
        with cluster.sites.inside(name):
            return socket.socket(*found[:3])

    plan = next(plan for plan in cluster.layout.replicas if plan.name == name)
    connector = aiohttp.TCPConnector(limit=0, socket_factory=make_socket)
    headers = {"Authorization": f"Bearer {cluster.layout.token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield Target(name, plan.url, session)


def _differences(cluster: SeparateCluster) -> list[str]:
    """Wait until the replicas' states are one; return a sentence when they do not become it."""
    deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        answers = [cluster.on(name, "GET", "/v1/replica?digest=1") for name in cluster.names]
        seen = [(a.body["applied_index"], a.body["digest"]) if a.status == 200 else None for a in answers]
        if len(set(seen)) == 1 and seen[0] is not None:
            return []
        if time.monotonic() > deadline_s:
            return [f"the replicas' states differ: {dict(zip(cluster.names, seen, strict=True))}"]
        time.sleep(POLL_S)


def _term(cluster: SeparateCluster) -> int:
    return int(cluster.wait("a leader", cluster.leaders)[0][0])

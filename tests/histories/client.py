"""Clients that use registers through the HTTP API, and write down what they were told.

A register is a variable of a node, or of all nodes (`/v1/globals`); its ETag makes compare-and-swap.

1. One operation is one request with one Idempotency-Key. It may be sent again, to any replica, and is still
   the same operation: its interval begins with the first attempt and ends with the last answer.
2. What an answer proves is decided in one place (`_proof`), and never in favour of the cluster.
3. Clients ask all replicas, leaders or not, and know nothing of the faults.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from tests.histories.operations import ABSENT, History, Kind, Operation, Outcome, StaleRead

T = TypeVar("T")

VARIABLE = "value"
PATIENCE_S = {0.6: 6, 1.5: 2, 9.5: 2}
"""How long an attempt may take, and how often; the longest is more than the API's own limits."""
IMPATIENCE_S = {0.005: 1, **PATIENCE_S}
"""The same for changes: now and then a client asks again while its request still takes effect."""
ATTEMPTS_MAX = 6
REPEAT_PROBABILITY = 0.75
PAUSE_S_MAX = 0.03
DEAD_PAUSE_S = 0.1
"""After nobody listened; many proofs that nothing happened prove no more than one."""
SHARES = {"read": 0.35, "stale read": 0.10, "write": 0.25, "read and swap": 0.20, "swap": 0.10}
"""A swap alone goes by an earlier read of the same client, and so differs often."""
STALE_SHARE = 0.3
"""Of a watcher's turns."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or what became of a request without one: `lost`, or `unsent` (nobody listened)."""

    status: int
    code: str
    body: Any
    headers: Mapping[str, str]

    @property
    def tag(self) -> int | None:
        """The index in the ETag."""
        text = self.headers.get("ETag", "").strip('"')
        return int(text) if text.isdigit() else None

    @property
    def seen(self) -> int | None:
        """The index of the state that was read."""
        text = self.headers.get("X-Hamgr-Index", "")
        return int(text) if text.isdigit() else None

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip() if self.status else self.code


LOST, UNSENT = "lost", "unsent"

EXPECTED = {
    "not-committed": Outcome.NEVER,
    UNSENT: Outcome.NEVER,
    "outcome-unknown": Outcome.UNKNOWN,
    LOST: Outcome.UNKNOWN,
    "changed": Outcome.DIFFERED,
}
"""What an answer other than a success proves, if faults can explain it at all."""


@dataclass(slots=True)
class Target:
    """A replica as clients reach it."""

    name: str
    url: str
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Any, timeout_s: float
    ) -> Reply:
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self.session.request(
                method, self.url + path, json=body, headers=headers, timeout=limit
            ) as answer:
                value = await answer.json(content_type=None)
                code = str(value.get("code", "")) if answer.status >= 400 else ""
                return Reply(answer.status, code, value, answer.headers)
        except aiohttp.ClientConnectorError:
            return Reply(0, UNSENT, None, {})
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return Reply(0, LOST, None, {})


@dataclass(slots=True)
class Recorder:
    """What all clients share: the replicas, the registers, and the history that they write.

    Attributes:
        paths: The resource of each register.
    """

    targets: list[Target]
    paths: Mapping[str, str]
    history: History
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, client: str, target: Target, key: str, *, timeout_s: float) -> Operation:
        """Read a register, linearizably."""
        start_ns = time.monotonic_ns()
        reply = await target.ask("GET", self.paths[key], headers={}, body=None, timeout_s=timeout_s)
        done = reply.status == 200 or reply.code == "no-such-node"
        if not done and reply.code not in ("no-leader", LOST, UNSENT):
            self.history.surprises.append(f"{client}@{target.name} read {key}: {reply} {reply.body}")
        if done and reply.headers.get("X-Hamgr-Consistency") != "linearizable":
            self.history.surprises.append(f"{client}@{target.name} read {key}: labelled {reply.headers}")
        operation = Operation(
            kind=Kind.READ,
            key=key,
            value=_value(reply) if done else None,
            start_ns=start_ns,
            end_ns=time.monotonic_ns(),
            outcome=Outcome.DONE if done else Outcome.UNKNOWN,
            index=reply.tag,
            seen_index=reply.seen,
            client=client,
            replica=target.name,
            note=str(reply),
        )
        self.history.operations.append(operation)
        return operation

    async def read_stale(self, target: Target, key: str, *, timeout_s: float) -> None:
        """Read what a replica has, and write down how it labels that."""
        path = f"{self.paths[key]}?consistency=stale"
        start_ns = time.monotonic_ns()
        reply = await target.ask("GET", path, headers={}, body=None, timeout_s=timeout_s)
        if reply.status != 200 and reply.code != "no-such-node":
            if reply.code not in (LOST, UNSENT):
                self.history.surprises.append(f"stale read of {key} at {target.name}: {reply} {reply.body}")
            return
        age = reply.headers.get("X-Hamgr-Age", "")
        read = StaleRead(
            key=key,
            value=_value(reply),
            start_ns=start_ns,
            end_ns=time.monotonic_ns(),
            index=reply.tag,
            seen_index=reply.seen,
            label=reply.headers.get("X-Hamgr-Consistency", "") if age else "",
            age_s=None if age == "unknown" or not age else float(age),
            replica=target.name,
        )
        self.history.stale.append(read)

    async def change(
        self, client: str, key: str, value: str, rng: random.Random, *, over: Operation | None = None
    ) -> Operation:
        """Write a value, or swap it for what the read `over` saw; try until it is known, or no longer."""
        headers = {"Idempotency-Key": f"{client}-{value}"}
        if over is not None:
            headers["If-Match"] = f'"{over.index}"'
        start_ns = time.monotonic_ns()
        proven, attempts = Outcome.NEVER, 0
        while True:
            attempts += 1
            target = rng.choice(self.targets)
            patience_s = _drawn(rng, IMPATIENCE_S)
            body = {"variables": {VARIABLE: value}}
            reply = await target.ask(
                "PATCH", self.paths[key], headers=headers, body=body, timeout_s=patience_s
            )
            outcome = self._proof(reply, f"{client}@{target.name} {key}={value}", swaps=over is not None)
            if outcome in (Outcome.DONE, Outcome.DIFFERED):
                proven = outcome
                break
            if outcome is Outcome.UNKNOWN:
                proven = outcome
            if attempts == ATTEMPTS_MAX or self.stopping.is_set() or rng.random() > REPEAT_PROBABILITY:
                break
            await asyncio.sleep(DEAD_PAUSE_S if reply.code == UNSENT else rng.uniform(0, PAUSE_S_MAX))
        operation = Operation(
            kind=Kind.WRITE if over is None else Kind.SWAP,
            key=key,
            value=value,
            expected=None if over is None else over.value,
            start_ns=start_ns,
            end_ns=time.monotonic_ns(),
            outcome=proven,
            index=reply.tag if proven is Outcome.DONE else None,
            client=client,
            replica=target.name,
            attempts=attempts,
            note=str(reply),
        )
        self.history.operations.append(operation)
        return operation

    def _proof(self, reply: Reply, what: str, *, swaps: bool) -> Outcome:
        """Return what one answer proves about a change."""
        if reply.status == 200:
            return Outcome.DONE
        outcome = EXPECTED.get(reply.code)
        if outcome is None or (outcome is Outcome.DIFFERED and not swaps):
            self.history.surprises.append(f"{what}: {reply} {reply.body}")
            return Outcome.UNKNOWN
        return outcome


async def work(recorder: Recorder, client: str, rng: random.Random) -> None:
    """Use registers at random until the recorder stops; a client has one request open at a time."""
    seen: dict[str, Operation] = {}
    number = 0
    while not recorder.stopping.is_set():
        key, target = rng.choice(sorted(recorder.paths)), rng.choice(recorder.targets)
        patience_s = _drawn(rng, PATIENCE_S)
        what = _drawn(rng, SHARES)
        if what == "stale read":
            await recorder.read_stale(target, key, timeout_s=patience_s)
        elif what in ("read", "read and swap"):
            read = await recorder.read(client, target, key, timeout_s=patience_s)
            if read.outcome is Outcome.DONE and read.index is not None:
                seen[key] = read
            elif read.note == UNSENT:
                await asyncio.sleep(DEAD_PAUSE_S)
        if what == "write" or ("swap" in what and key in seen):
            number += 1
            over = None if what == "write" else seen.pop(key)
            await recorder.change(client, key, f"{client}.{number}", rng, over=over)
        await asyncio.sleep(rng.uniform(0, PAUSE_S_MAX))


async def watch(recorder: Recorder, client: str, target: Target, rng: random.Random) -> None:
    """Read at one replica only, and often: whatever it says too late, somebody hears.

    The moments in which an old leader still answers are short, and a client that waits for another replica
    misses them.
    """
    while not recorder.stopping.is_set():
        key = rng.choice(sorted(recorder.paths))
        if rng.random() < STALE_SHARE:
            await recorder.read_stale(target, key, timeout_s=_drawn(rng, PATIENCE_S))
        read = await recorder.read(client, target, key, timeout_s=_drawn(rng, PATIENCE_S))
        await asyncio.sleep(DEAD_PAUSE_S if read.note == UNSENT else rng.uniform(0, PAUSE_S_MAX))


def _drawn(rng: random.Random, weights: Mapping[T, float]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]


def _value(reply: Reply) -> str | None:
    if reply.status == 404:
        return ABSENT
    value = reply.body["variables"].get(VARIABLE)
    return None if value is None else str(value)


@contextlib.asynccontextmanager
async def clients(
    recorder: Recorder, count: int, rng: random.Random, *, watchers: int = 0
) -> AsyncIterator[None]:
    """Let clients work for as long as the context is open, and let them end what they began.

    Args:
        watchers: How many more clients each replica has that only read, and only there.
    """
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(work(recorder, f"c{number}", random.Random(rng.random())))
        for number, target in itertools.product(range(watchers), recorder.targets):
            name = f"w{number}-{target.name}"
            group.create_task(watch(recorder, name, target, random.Random(rng.random())))
        try:
            yield
        finally:
            recorder.stopping.set()

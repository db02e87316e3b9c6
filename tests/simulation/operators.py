"""People: what they ask of a cluster, over whichever replica answers, again when no answer comes."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from hamgr.raft.port import NotCommitted, OutcomeUnknown
from statemachine.commands import (
    AddNode,
    CancelJob,
    Command,
    CommitBundle,
    EditNode,
    ForgetNode,
    ReportPresence,
    SetGlobals,
    SetMaintenance,
    SubmitJob,
)
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import Endpoint, Node, State
from statemachine.words import JobKind, Presence, RequestId, Status
from tests.simulation.consensus import Consensus
from tests.simulation.orders import COMPONENTS, POISON, ROLES, digest_of, manifest_of
from tests.simulation.rollouts import Steering
from tests.simulation.virtual_time import VirtualClock

PROPOSAL_TIMEOUT_S = 5.0
TRIES_MAX = 4


class Operators:
    """Ask for things at random, most of them sensible."""

    def __init__(
        self,
        *,
        seed: str,
        consensus: Consensus,
        addresses: Callable[[], list[str]],
        count: Callable[[str], None],
        mostly_roll: bool,
    ) -> None:
        self._seed = seed
        self._random = Random(f"{seed}/operators")
        self._consensus = consensus
        self._addresses = addresses
        self._count = count
        self._clock = VirtualClock()
        self._mostly_roll = mostly_roll
        self._asked = 0
        self._bundles = 0
        self._steering = Steering(
            random=Random(f"{seed}/steering"), ask=self._ask, view=self._view, bundle=self._some_bundle
        )

    async def begin(self) -> None:
        """Push a bundle, discover everything, commission a part of it."""
        await self._push()
        endpoints = tuple(Endpoint(address=address) for address in self._addresses())
        await self._ask(SubmitDiscovery, endpoints=endpoints)
        await asyncio.sleep(20.0)
        for role in ("db", "web"):
            free = self._of(Status.DISCOVERED)
            if free:
                half = len(free) // 2 if role == "db" or not self._mostly_roll else len(free)
                part = tuple(node.name for node in free[: max(1, half)])
                await self._ask(SubmitJob, kind=JobKind.COMMISSION, nodes=part, role=role)
            await asyncio.sleep(self._random.uniform(5.0, 60.0))
        for place, name in enumerate(sorted(self._view().nodes)):
            await self._ask(EditNode, node=name, labels={"rack": f"r{place % 3}"})

    async def tend(self) -> None:
        """Look after jobs that are held, after the storm."""
        await self._steering.tend()

    async def storm(self, until_s: float) -> None:
        """Ask for something now and then."""
        loop = asyncio.get_running_loop()
        acts: list[tuple[Callable[[], Any], int]] = [
            (self._commission, 7),
            (self._upgrade, 4),
            (self._verify, 2),
            (self._decommission, 3),
            (self._discover, 4),
            (self._repair, 3),
            (self._cancel, 3),
            (self._maintenance, 2),
            (self._forget, 2),
            (self._globals, 2),
            (self._push, 2),
            (self._edit, 1),
            (self._presence, 1),
            (self._add, 1),
        ]
        steering = self._steering.acts()
        acts += [(act, weight * (4 if self._mostly_roll else 1)) for act, weight in steering]
        names, weights = zip(*acts, strict=True)
        while loop.time() < until_s:
            await asyncio.sleep(self._random.expovariate(1 / 14.0))
            await self._random.choices(names, weights)[0]()

    def _view(self) -> State:
        up = self._consensus.up()
        return self._consensus.replica(self._random.choice(up)).state if up else State()

    def _of(self, *statuses: Status) -> list[Node]:
        return [node for node in self._view().nodes.values() if node.status in statuses and not node.job]

    def _some(self, nodes: list[Node]) -> tuple[Any, ...]:
        count = self._random.randint(1, len(nodes)) if nodes else 0
        return tuple(node.name for node in self._random.sample(nodes, count))

    async def _ask(self, make: Callable[..., Command], **fields: Any) -> None:
        """Propose, the same again and again, over any replica, until an answer comes or patience ends."""
        self._asked += 1
        command = make(request_id=RequestId(f"op-{self._asked}"), at=self._clock.now(), actor="ann", **fields)
        self._count("requests")
        for _ in range(TRIES_MAX):
            if up := self._consensus.up():
                replica = self._consensus.replica(self._random.choice(up))
                try:
                    await replica.propose(command, timeout_s=PROPOSAL_TIMEOUT_S)
                except (OutcomeUnknown, NotCommitted):
                    self._count("requests repeated")
                else:
                    return
            await asyncio.sleep(self._random.uniform(0.1, 3.0))

    async def _commission(self) -> None:
        free = self._of(Status.DISCOVERED, Status.DECOMMISSIONED, Status.QUARANTINED)
        role = self._random.choice([*ROLES, "db", "db", "web"])
        await self._ask(
            SubmitJob,
            kind=JobKind.COMMISSION,
            nodes=self._some(free),
            role=role,
            max_parallel=self._random.choice((0, 0, 1, 2)),
            variables=self._random.choice(({}, {}, {"size": self._random.randint(1, 3)})),
        )

    async def _upgrade(self) -> None:
        await self._ask(
            SubmitJob,
            kind=JobKind.UPGRADE,
            nodes=self._some(self._of(*IN_SERVICE)),
            bundle=self._some_bundle() if self._random.random() < 0.3 else "",
            max_parallel=self._random.choice((0, 1, 2, 8)),
            max_failed=self._random.choice((None, 0, 1, 5)),
        )

    def _some_bundle(self) -> str:
        return digest_of(self._random.randint(1, self._bundles))

    async def _verify(self) -> None:
        await self._ask(SubmitJob, kind=JobKind.VERIFY, nodes=self._some(self._of(*IN_SERVICE)))

    async def _decommission(self) -> None:
        nodes = self._some(self._of(*IN_SERVICE, Status.QUARANTINED))
        await self._ask(SubmitJob, kind=JobKind.DECOMMISSION, nodes=nodes[: self._random.randint(1, 4)])

    async def _discover(self) -> None:
        addresses = self._addresses()
        some = self._random.sample(addresses, self._random.randint(1, len(addresses)))
        endpoints = tuple(Endpoint(address=address) for address in [*some, "10.9.9.9"])
        await self._ask(
            SubmitDiscovery,
            endpoints=endpoints,
            sweep=self._random.random() < 0.5,
            readmit=self._random.random() < 0.6,
        )

    async def _repair(self) -> None:
        """Look for everything anew, and give what is quarantined its role again."""
        endpoints = tuple(Endpoint(address=address) for address in self._addresses())
        await self._ask(SubmitDiscovery, endpoints=endpoints, readmit=True)
        await asyncio.sleep(2.0)
        for node in self._of(Status.QUARANTINED):
            await self._ask(
                SubmitJob, kind=JobKind.COMMISSION, nodes=(node.name,), role=node.role, max_parallel=1
            )

    async def _cancel(self) -> None:
        running = self._view().running
        if running:
            await self._ask(CancelJob, job=self._random.choice(running))

    async def _maintenance(self) -> None:
        if nodes := self._of(*IN_SERVICE):
            until = self._clock.now() + self._random.uniform(1.0, 300.0)
            await self._ask(
                SetMaintenance,
                node=self._random.choice(nodes).name,
                on=self._random.random() < 0.5,
                reason="disks",
                until=self._random.choice((None, until, until)),
            )

    async def _forget(self) -> None:
        if nodes := list(self._view().nodes.values()):
            await self._ask(
                ForgetNode, node=self._random.choice(nodes).name, force=self._random.random() < 0.4
            )

    async def _globals(self) -> None:
        poison = self._random.choice(sorted(COMPONENTS)) if self._random.random() < 0.3 else None
        await self._ask(SetGlobals, variables={"tuned": self._random.randint(1, 9), POISON: poison})

    async def _push(self) -> None:
        self._bundles += 1
        await self._ask(
            CommitBundle,
            digest=digest_of(self._bundles),
            manifest=manifest_of(self._seed, self._bundles),
            size_bytes=1,
        )

    async def _edit(self) -> None:
        if nodes := list(self._view().nodes.values()):
            await self._ask(
                EditNode,
                node=self._random.choice(nodes).name,
                variables={"own": self._random.randint(1, 9)},
                labels={"rack": f"r{self._random.randint(1, 3)}"},
            )

    async def _presence(self) -> None:
        if nodes := list(self._view().nodes.values()):
            await self._ask(
                ReportPresence,
                node=self._random.choice(nodes).name,
                presence=self._random.choice((Presence.REACHABLE, Presence.REACHABLE, Presence.UNREACHABLE)),
                reason="as a probe saw it",
            )

    async def _add(self) -> None:
        address = self._random.choice(self._addresses())
        await self._ask(AddNode, node=f"added-{self._asked}", endpoint=Endpoint(address=address))

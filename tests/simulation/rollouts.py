"""People who roll changes out with strategies, steer what runs, and look after what is held.

1. Most of what they ask for is sensible; all of it may come at any moment, twice, or too late.
2. Whatever is held is looked at in the end: promoted, resumed, or cancelled, so that every job ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from statemachine.commands import (
    CancelJob,
    PauseJob,
    PromoteJob,
    ResumeJob,
    RetryJob,
    RevertJob,
    SubmitJob,
)
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import Job, State
from statemachine.rollout import HoldKind
from statemachine.words import JobKind, JobState
from tests.simulation.virtual_time import VirtualClock
from tests.statemachine.strategies import sensible

Ask = Callable[..., Awaitable[None]]
TENDED_EVERY_S = 20.0
BY_THE_CLOCK = {HoldKind.WINDOW, HoldKind.SCHEDULED, HoldKind.STALLED}
PATIENCE_S = 900.0
"""For how long, after the last fault, people bear holds of the clock: some clocks stay an hour wrong."""
KINDS = (JobKind.UPGRADE, JobKind.UPGRADE, JobKind.UPGRADE, JobKind.VERIFY, JobKind.DECOMMISSION)


class Steering:
    """Asks for rollouts and steers jobs, by what a replica shows."""

    def __init__(
        self, *, random: Random, ask: Ask, view: Callable[[], State], bundle: Callable[[], str]
    ) -> None:
        self._random = random
        self._ask = ask
        self._view = view
        self._bundle = bundle
        self._clock = VirtualClock()

    def acts(self) -> list[tuple[Callable[[], Awaitable[None]], int]]:
        """Return what they do, each with how often."""
        return [
            (self._roll_out, 9),
            (self._pause, 2),
            (self._help, 3),
            (self._retry, 2),
            (self._revert, 1),
        ]

    async def _roll_out(self) -> None:
        """Ask for a job on nodes that serve, busy or not, with some strategy."""
        serving = [node.name for node in self._view().nodes.values() if node.status in IN_SERVICE]
        if not serving:
            return
        nodes = self._random.sample(serving, self._random.randint((len(serving) + 1) // 2, len(serving)))
        kind = self._random.choice(KINDS)
        rollout, asked = sensible(self._random, nodes=len(nodes), at=self._clock.now())
        bundle = self._bundle() if kind is JobKind.UPGRADE else ""
        await self._ask(
            SubmitJob,
            kind=kind,
            nodes=tuple(nodes),
            bundle=bundle,
            rollout=rollout,
            reason="roll out",
            **asked,
        )

    def _running(self) -> list[Job]:
        state = self._view()
        return [state.jobs[job] for job in state.running if state.jobs[job].kind is not JobKind.DISCOVER]

    async def _pause(self) -> None:
        if jobs := self._running():
            await self._ask(PauseJob, job=self._random.choice(jobs).id, reason="lunch")

    async def _help(self) -> None:
        if held := [job for job in self._running() if job.holds]:
            await self._release(self._random.choice(held))

    async def _release(self, job: Job) -> None:
        command = release(job)
        if command is not None:
            await self._ask(command, job=job.id, reason="looked at it")

    def _ended(self) -> list[Job]:
        jobs = [job for job in self._view().jobs.values() if job.state is not JobState.RUNNING]
        return [job for job in jobs if job.kind is not JobKind.DISCOVER][-5:]

    async def _retry(self) -> None:
        if jobs := [job for job in self._ended() if job.state is not JobState.SUCCEEDED]:
            unfinished = self._random.random() < 0.7
            await self._ask(RetryJob, job=self._random.choice(jobs).id, unfinished=unfinished)

    async def _revert(self) -> None:
        if jobs := self._ended():
            await self._ask(RevertJob, job=self._random.choice(jobs).id, reason="it is worse than before")

    async def tend(self) -> None:
        """Look after what is held until nothing runs any more; for ever, if need be."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            await asyncio.sleep(TENDED_EVERY_S)
            for job in self._running():
                kinds = {hold.kind for hold in job.holds}
                late = loop.time() - began_s > PATIENCE_S
                if kinds & BY_THE_CLOCK and late:
                    await self._ask(CancelJob, job=job.id, reason="the clocks do not agree about it")
                elif kinds:
                    await self._release(job)


def release(job: Job) -> type[Any] | None:
    """Return the command that lets a held job go on; None when only the clock does."""
    kinds = {hold.kind for hold in job.holds}
    if HoldKind.CANARY in kinds:
        return PromoteJob
    return ResumeJob if kinds & {HoldKind.PAUSED, HoldKind.FAILURES, HoldKind.STALLED} else None

"""One node in memory: its fence, its attempts, its evidence; the runner's rules, without a clock.

Every method takes `now` (the caller's clock, seconds), and an attempt's state follows from it: nothing has
to happen for an attempt to end. What a method returns or raises is what the real runner answers.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from backends.ports import (
    OUTPUT_BYTES_MAX,
    AttemptKey,
    AttemptState,
    AttemptStatus,
    CommandFailed,
    LogChunk,
    NodeBusy,
    ScriptMismatch,
    StaleEpoch,
)

JOBS_KEPT = 8
"""How many finished jobs' results outlive a fence, the fence's own job not counted."""
KILLED = 128 + 9

Behaviour: TypeAlias = Callable[[AttemptKey, bytes], tuple[float, int, bytes]]
"""From an attempt and its script: how many seconds it takes, its exit code, its output."""

Sight: TypeAlias = Callable[[bytes], tuple[float, int, bytes]]
"""From the script of a look: how many seconds it takes, its exit code, its output."""


def succeed(key: AttemptKey, script: bytes) -> tuple[float, int, bytes]:  # noqa: ARG001 (the shape of a behaviour)
    """Succeed at once, silently."""
    return 0.0, 0, b""


def see_nothing(script: bytes) -> tuple[float, int, bytes]:  # noqa: ARG001 (the shape of a sight)
    """See nothing, at once."""
    return 0.0, 0, b""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    digest: bytes
    began_at: float
    ends_at: float
    exit_code: int
    output: bytes
    lost: bool = False

    def written(self, now: float) -> bytes:
        """Return the output so far; it grows evenly while the attempt runs."""
        if now >= self.ends_at:
            return self.output
        share = (now - self.began_at) / (self.ends_at - self.began_at)
        return self.output[: int(len(self.output) * share)]


@dataclass(slots=True, eq=False)
class MemoryNode:
    """A machine.

    Attributes:
        launches: Evidence that only grows: the epoch and name of every launch there ever was.
        up: Whether it answers; an attempt goes on while it does not.
        lets_us_in: Whether it accepts our login.
    """

    name: str
    host_key: str = ""
    machine_id: str = ""
    behaviour: Behaviour = succeed
    sight: Sight = see_nothing
    facts: dict[str, str | int | bool] = field(default_factory=dict)
    up: bool = True
    lets_us_in: bool = True
    launches: list[tuple[int, AttemptKey]] = field(default_factory=list)
    epoch: int = 0
    boot: int = 1
    _attempts: dict[AttemptKey, _Attempt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host_key = self.host_key or f"ssh-ed25519 memory-{self.name}"
        self.machine_id = (
            self.machine_id or hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()
        )

    def fence(self, epoch: int, *, job: str, now: float) -> None:
        """Store the epoch; forget the results of jobs that ended long ago."""
        self._check(epoch)
        others: dict[str, float] = {}
        for key, attempt in self._attempts.items():
            ended_at = now if self._state(attempt, now) is AttemptState.RUNNING else attempt.ends_at
            others[key.job] = max(others.get(key.job, ended_at), ended_at)
        others.pop(job, None)
        running = {key.job for key in self._running(now)}
        finished = sorted((ended_at, name) for name, ended_at in others.items() if name not in running)
        forgotten = {name for _, name in finished[:-JOBS_KEPT]}
        self._attempts = {key: kept for key, kept in self._attempts.items() if key.job not in forgotten}

    def status(self, epoch: int, key: AttemptKey, *, now: float) -> AttemptStatus:
        """Look at an attempt."""
        self._check(epoch)
        return self.look(key, now=now)

    def start(self, epoch: int, key: AttemptKey, script: bytes, *, now: float) -> bool:
        """Launch an attempt, or find it there; return whether it was there."""
        self._check(epoch)
        digest = hashlib.sha256(script).digest()
        known = self._attempts.get(key)
        if known is not None:
            if known.digest != digest:
                raise ScriptMismatch(self.name, f"already has {_named(key)}, with another script")
            return True
        for holder in self._running(now):
            raise NodeBusy(self.name, _named(holder))
        duration_s, exit_code, output = self.behaviour(key, script)
        self.launches.append((epoch, key))
        self._attempts[key] = _Attempt(
            digest=digest,
            began_at=now,
            ends_at=now + duration_s,
            exit_code=exit_code,
            output=output,
        )
        return False

    def kill(self, epoch: int, key: AttemptKey, *, now: float) -> AttemptStatus:
        """End an attempt now."""
        self._check(epoch)
        attempt = self._attempts.get(key)
        if attempt is not None and self._state(attempt, now) is AttemptState.RUNNING:
            attempt.output = attempt.written(now)
            attempt.ends_at, attempt.exit_code = now, KILLED
        return self.look(key, now=now)

    def look(
        self, key: AttemptKey, *, now: float, adopted: bool = False, output: bool = False
    ) -> AttemptStatus:
        """Return what is known of an attempt, whatever the epoch."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return AttemptStatus(state=AttemptState.ABSENT)
        state = self._state(attempt, now)
        written = attempt.written(now)
        return AttemptStatus(
            state=state,
            exit_code=attempt.exit_code if state is AttemptState.DONE else None,
            adopted=adopted,
            output_bytes=len(written),
            output=written[-OUTPUT_BYTES_MAX:] if output else b"",
            reason="the node was rebooted" if state is AttemptState.LOST else "",
        )

    def read_log(self, key: AttemptKey, *, offset: int, bytes_max: int, now: float) -> LogChunk:
        """Return a part of an attempt's output."""
        attempt = self._attempts.get(key)
        if attempt is None:
            raise CommandFailed(self.name, f"has no attempt {_named(key)}")
        written = attempt.written(now)
        data = written[offset : offset + bytes_max]
        over = self._state(attempt, now) is not AttemptState.RUNNING
        complete = over and offset + len(data) >= len(written)
        return LogChunk(offset=offset, data=data, complete=complete, output_bytes=len(written))

    def ends_at(self, key: AttemptKey) -> float:
        """Return when a known attempt ends if nothing befalls it."""
        return self._attempts[key].ends_at

    def restart(self, *, now: float) -> None:
        """Boot anew: what ran is lost, what had ended stays."""
        for key in self._running(now):
            attempt = self._attempts[key]
            attempt.output, attempt.ends_at, attempt.lost = attempt.written(now), now, True
        self.boot += 1

    def _check(self, epoch: int) -> None:
        if epoch < self.epoch:
            raise StaleEpoch(self.name, self.epoch)
        self.epoch = epoch

    def _state(self, attempt: _Attempt, now: float) -> AttemptState:
        if attempt.lost:
            return AttemptState.LOST
        return AttemptState.DONE if now >= attempt.ends_at else AttemptState.RUNNING

    def _running(self, now: float) -> list[AttemptKey]:
        return [
            key for key, known in self._attempts.items() if self._state(known, now) is AttemptState.RUNNING
        ]


def _named(key: AttemptKey) -> str:
    return f"{key.job}/{key.step}/{key.attempt}"

"""How the rest of hamgr touches nodes: the contracts, their values and their errors.

Rules that every adapter keeps (one test suite runs over all of them):

1. A node's host key is pinned. An unknown or changed key is `Refused` before anything is sent; only
   `probe` may meet a node whose key is not known yet.
2. No verb of an epoch below the highest that the node has ever seen has any effect: `StaleEpoch`.
3. At most one attempt runs on a node at any instant, and each attempt is launched at most once, across
   any number of callers, retries and dropped connections.
4. An attempt runs detached: a lost connection changes nothing for it, and its result is durable.
5. Every call is bounded in time and in output, and ends in a value or in one of the errors below.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

OUTPUT_BYTES_MAX = 64 * 1024
"""The most of an attempt's output that `AttemptStatus` carries; the tail is kept."""
SCRIPT_BYTES_MAX = 4 * 1024 * 1024
"""The largest script that may be sent to a node."""
LOOK_TAIL_BYTES = 1_024
"""How much of the end of a look's output is kept when its middle is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where a node is and how it proves who it is.

    Attributes:
        host_key: The pinned public key in OpenSSH form (`ssh-ed25519 AAAA...`, without comment);
            empty only for `probe`.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    host_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptKey:
    """The name of one launch of one step, unique on the node for ever.

    Attributes:
        job: Cluster and job, `[a-z0-9][a-z0-9_.-]{0,63}`.
        step: `[a-z0-9][a-z0-9_.-]{0,63}`.
        attempt: Counts from 1.
    """

    job: str
    step: str
    attempt: int


class AttemptState(StrEnum):
    ABSENT = "absent"
    RUNNING = "running"
    DONE = "done"
    LOST = "lost"
    """It was launched, it is not running, and it left no result: reboot, or the supervisor was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """What the node knows of an attempt.

    Attributes:
        exit_code: Of the step's script when `DONE`; 128 + signal when a signal ended it.
        adopted: The attempt was there before this call.
        output_bytes: Length of its whole output so far (standard output and error, in order).
        output: At most `OUTPUT_BYTES_MAX` of it, the tail; empty from `status`.
        reason: Why it is `LOST`, in words.
    """

    state: AttemptState
    exit_code: int | None = None
    adopted: bool = False
    output_bytes: int = 0
    output: bytes = b""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """Who answered at an address.

    Attributes:
        host_key: The key that the node proved to hold, in OpenSSH form.
        machine_id: /etc/machine-id (machine-id(5)).
        epoch: The highest epoch that the node has seen; 0 when it was never managed.
        facts: Flat and small: hostname, os, kernel, arch, cpus, memory_mb, boot_id, systemd.
    """

    host_key: str
    machine_id: str
    hostname: str
    epoch: int
    facts: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Part of an attempt's output, from `offset` on.

    Attributes:
        complete: The attempt is over and nothing follows.
        output_bytes: Length of its whole output so far; 0 where that is not known (`follow`).
    """

    offset: int
    data: bytes
    complete: bool = False
    output_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look saw.

    Attributes:
        exit_code: Of the script; 128 + signal when a signal ended it; None when it was cut off because
            it printed without end.
        output: Standard output and error, in order. Where `truncated`, its start and its last
            `LOOK_TAIL_BYTES`, without what came between.
    """

    exit_code: int | None
    output: bytes = b""
    truncated: bool = False


class BackendError(Exception):
    """The node's side of an operation went wrong; `host` is its name and `message` one sentence.

    `silent_s` is for how long the node was known to be silent by then; 0 where that is not known.
    """

    def __init__(self, host: str, message: str, *, silent_s: float = 0.0) -> None:
        super().__init__(f"{host}: {message}")
        self.host = host
        self.message = message
        self.silent_s = silent_s


class Unreachable(BackendError):
    """No session could be opened; nothing was started by this call."""


class Refused(BackendError):
    """The node answered and was not the node we know, or did not let us in; nothing was started."""


class TimedOut(BackendError):
    """No answer in time. What was asked may have happened: ask again, with the same key."""


class CommandFailed(BackendError):
    """The node ran the request and could not serve it (full disk, missing `flock`, damaged files)."""


class StaleEpoch(BackendError):
    """The node has seen `fence`, a higher epoch: somebody else is in charge. Nothing was done."""

    def __init__(self, host: str, fence: int) -> None:
        super().__init__(host, f"has already seen epoch {fence}; this order is older and was not obeyed")
        self.fence = fence


class NodeBusy(BackendError):
    """Another attempt, `holder`, or a process that it left behind, is still running on the node."""

    def __init__(self, host: str, holder: str) -> None:
        super().__init__(host, f"is still running {holder}")
        self.holder = holder


class ScriptMismatch(BackendError):
    """An attempt of this name exists with another script; it was left alone."""


class NodeExecutor(Protocol):
    """Runs attempts on nodes. All calls may be repeated; a repeat never does the work twice."""

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        """Ask who is at `host.address`; nothing on the node is changed.

        Raises:
            Unreachable, Refused (login not accepted, or `host.host_key` given and different), TimedOut,
            CommandFailed (not a machine that we can manage).
        """

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        """Store `epoch` on the node, durably; from now on lower ones are refused.

        Results of jobs other than `job` are acknowledged by this (the log gives a node to one job at a
        time); the node may discard all but the most recent ones.

        Raises:
            Unreachable, Refused, TimedOut, CommandFailed, StaleEpoch.
        """

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        """Look at an attempt without changing anything but the fence.

        Raises:
            Unreachable, Refused, TimedOut, CommandFailed, StaleEpoch.
        """

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        """Start an attempt, or adopt the one of this name, and wait up to `wait_s` for its end.

        Args:
            script: For /bin/sh; run in an own session, with its output captured.
            wait_s: An attempt that is still running after this is left alone and answered `RUNNING`.

        Raises:
            Unreachable: It was not started by this call (an earlier call may have).
            TimedOut: It may have been started; call again with the same key.
            Refused, CommandFailed, StaleEpoch, NodeBusy, ScriptMismatch: It was not started.
        """

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        """Kill every process of an attempt (SIGKILL) and answer what is known of it then.

        Raises:
            Unreachable, Refused, TimedOut, CommandFailed, StaleEpoch.
        """

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        """Read an attempt's output from `offset`; works at any epoch, since it changes nothing.

        Raises:
            Unreachable, Refused, TimedOut, CommandFailed (no such attempt).
        """

    def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        """Yield an attempt's output from `offset` as it is written, until a chunk that is `complete`.

        Raises:
            Unreachable, Refused, TimedOut, CommandFailed: while iterating.
        """

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        """Run a script that only looks, beside whatever runs on the node; no attempt, no epoch, no lock.

        Nothing is stored on the node, and the runner need not be there. A script that did not arrive whole
        is not run at all. After `timeout_s` nobody listens to it any more, and timeout(1), which every
        coreutils and busybox has, kills it on the node within two seconds; what it put into the background
        in a session of its own is not found by that. May be run again when the connection is lost, so it
        must be harmless to repeat, unless `once` is set.

        Args:
            script: For /bin/sh, with the environment of a step but for the HAMGR_ variables of an attempt.
            timeout_s: For all of it, connecting included.
            output_bytes_max: At least `LOOK_TAIL_BYTES`; more than that is left out (see `Look`).
            once: Once it was sent it is never sent again; who may have run it is then told by `TimedOut`.

        Raises:
            Unreachable, Refused: It was not run.
            TimedOut: It looked too long, or its answer was lost.
            CommandFailed: The script is too long, or what answers runs no scripts.
        """

    async def close(self) -> None:
        """Close all connections; attempts on the nodes go on."""

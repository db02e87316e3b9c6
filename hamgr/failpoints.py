"""Places where a test can stop this process for real: the boundaries of a step (DESIGN 5).

`HAMGR_FAILPOINT=BOUNDARY:ACTION:MARKER[:FILTER]` makes the first process that reaches BOUNDARY (with a
subject that contains FILTER) send itself ACTION, `kill` (SIGKILL) or `stop` (SIGSTOP), once in the life of
the file MARKER, which it creates. Without the variable, reaching a boundary costs one attribute look-up.
A process can harm nobody but itself by this, and whoever may set its environment could kill it anyway.
"""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

BOUNDARIES = (
    "claiming",  # about to propose the claim
    "claimed",  # the claim is committed, the node is not fenced
    "fenced",  # the node refuses older epochs, nothing was announced
    "announced",  # the attempt is in the log, the node has not heard of it
    "ended",  # the node has answered the result, the log has not
    "recorded",  # the result is in the log
)

Failpoints: TypeAlias = Callable[[str, str], None]
"""Called with a boundary and a subject (`job/node/step`) whenever one is reached."""

_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def none(boundary: str, subject: str) -> None:
    """Go on."""


def from_environment(environment: Mapping[str, str]) -> Failpoints:
    """Return what `HAMGR_FAILPOINT` asks for.

    Raises:
        ValueError: It names an unknown boundary or action.
    """
    text = environment.get("HAMGR_FAILPOINT", "")
    if not text:
        return none
    boundary, action, marker, *rest = [*text.split(":"), "", ""]
    only = rest[0] if rest else ""
    if boundary not in BOUNDARIES or action not in _ACTIONS or not marker:
        raise ValueError(
            f"HAMGR_FAILPOINT={text}: write BOUNDARY:ACTION:MARKER[:FILTER] with one of "
            f"{', '.join(BOUNDARIES)} and kill or stop"
        )

    def reached(at: str, subject: str) -> None:
        if at != boundary or only not in subject:
            return
        try:
            os.close(os.open(Path(marker), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
        os.kill(os.getpid(), _ACTIONS[action])

    return reached

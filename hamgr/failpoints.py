"""Places where a test can stop this process for real: the boundaries of a step (DESIGN 5).

With `HAMGR_FAILPOINTS=DIR` in its environment, a replica that reaches a boundary looks for the file
`DIR/BOUNDARY.kill` or `DIR/BOUNDARY.stop`. If it is there, and the text in it is part of the subject
(`job/node/step`), the replica removes it and sends itself SIGKILL or SIGSTOP; the removal decides which of
several replicas does. Without the variable, reaching a boundary is one call of an empty function. A process
can harm nobody but itself by this, and whoever may set its environment could kill it anyway.
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
"""Called with a boundary and a subject whenever one is reached."""

_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def none(boundary: str, subject: str) -> None:
    """Go on."""


def from_environment(environment: Mapping[str, str]) -> Failpoints:
    """Return what `HAMGR_FAILPOINTS` asks for; `none` without it."""
    directory = environment.get("HAMGR_FAILPOINTS", "")
    return armed_in(Path(directory)) if directory else none


def armed_in(directory: Path) -> Failpoints:
    """Return failpoints that are armed by files in `directory`, while the process runs."""

    def reached(boundary: str, subject: str) -> None:
        for action, number in _ACTIONS.items():
            path = directory / f"{boundary}.{action}"
            try:
                if path.read_text().strip() in subject:
                    path.unlink()
                    os.kill(os.getpid(), number)
            except FileNotFoundError:
                continue

    return reached

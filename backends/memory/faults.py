"""What can go wrong on the way to a node, and who decides it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from backends.ports import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What befalls one call.

    Attributes:
        delay_s: The call reaches the node so much later.
        refused: No session is opened; the node never hears of it (`Unreachable`).
        answer_lost: The node obeys, and nobody hears its answer (`TimedOut`).
    """

    delay_s: float = 0.0
    refused: bool = False
    answer_lost: bool = False


FaultHook: TypeAlias = Callable[[Host, str], Fault | None]
"""Asked once a call, with the host and the verb's name."""

"""Sets up the interpreter for a process whose threads must not keep each other waiting.

1. A thread that wants the interpreter gets it within `SWITCH_INTERVAL_S`, but for rule 2.
2. A full collection of cyclic garbage holds up all threads: those of a leader with 1,000 kept connections for
   0.1 s and more. While a job runs it finds next to nothing. So it is made when none runs, or by the
   interpreter after `MIDDLE_COLLECTIONS_MAX`, which bounds the garbage of a job that runs for long.

`python -m tests.bench rolling_upgrade` shows what this is good for: the API's 99th percentile during a job.
"""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

SWITCH_INTERVAL_S = 0.0005
YOUNG_OBJECTS_MAX = 2_000
YOUNG_COLLECTIONS_MAX = 10
MIDDLE_COLLECTIONS_MAX = 200
"""Of objects that survived twice; the interpreter then makes a full collection by itself (gc(3py))."""
MIDDLE_COLLECTIONS_MIN = 10
"""After fewer there is too little to find."""
QUIET_S = 5.0


def set_up() -> None:
    """Have threads take turns quickly, and full collections be rare."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(YOUNG_OBJECTS_MAX, YOUNG_COLLECTIONS_MAX, MIDDLE_COLLECTIONS_MAX)


def settle() -> None:
    """Have collections pass over what is here now, and stays; give back what only the start needed."""
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim(3) is glibc's
    if trim is not None:
        trim(0)


async def collect_when_quiet(busy: Callable[[], bool], *, quiet_s: float = QUIET_S) -> None:
    """Make a full collection whenever it is worth one, and nothing was going on for `quiet_s`; for ever."""
    quiet = False
    while True:
        quiet, was_quiet = not busy(), quiet
        if quiet and was_quiet and gc.get_count()[2] >= MIDDLE_COLLECTIONS_MIN:
            gc.collect()
        await asyncio.sleep(quiet_s)

"""The clock of a replica's machine, put ahead by the seconds in the file beside its configuration.

Python loads this first wherever its folder is in `PYTHONPATH`. Only wall time is another; monotonic time is
the machine's own. The file may come, change and go while the process runs; it is replaced, never rewritten.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def _reader(path: Path, true_time: Callable[[], float]) -> Callable[[], float]:
    read: tuple[int, int] = (0, 0)
    ahead_s = 0.0

    def now() -> float:
        nonlocal read, ahead_s
        try:
            found = path.stat()
            if read != (found.st_ino, found.st_mtime_ns):
                ahead_s = float(path.read_text())
                read = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            read, ahead_s = (0, 0), 0.0
        return true_time() + ahead_s

    return now


if "HAMGR_TEST_CLOCK" in os.environ and sys.orig_argv[-2:-1] == ["--config"]:
    time.time = _reader(Path(sys.orig_argv[-1]).with_suffix(os.environ["HAMGR_TEST_CLOCK"]), time.time)

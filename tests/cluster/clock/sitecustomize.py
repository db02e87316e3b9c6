"""The clock of a replica's machine, put ahead by the seconds in the file that `HAMGR_TEST_CLOCK` names.

Python loads this first wherever its folder is in `PYTHONPATH`. Only wall time is another; monotonic time is
the machine's own.
"""

import os
import time
from pathlib import Path


def _put_ahead(path: Path) -> None:
    if not path.exists():
        return
    ahead_s = float(path.read_text())
    true_time = time.time
    time.time = lambda: true_time() + ahead_s


if "HAMGR_TEST_CLOCK" in os.environ:
    _put_ahead(Path(os.environ["HAMGR_TEST_CLOCK"]))

"""When the next backup is due, whatever the clock showed when the last one was made."""

from pathlib import Path

import pytest

from hamgr.backup.files import Kept
from hamgr.backup.sealed import Header
from hamgr.backup.service import is_due

DAY_S = 86_400.0
NOW = 1_700_000_000.0


def made(*, ago_s: float) -> Kept:
    header = Header(cluster="c", replica="r1", index=1, at=NOW - ago_s, version="1", key_id="k")
    return Kept(path=Path("x"), bytes=1, header=header)


@pytest.mark.parametrize(
    ("ages_s", "due"),
    [
        ((), True),
        ((10.0,), False),
        ((DAY_S - 1, 2 * DAY_S), False),
        ((DAY_S,), True),
        ((-3_650 * DAY_S, 2 * DAY_S), True),  # the clock was ten years ahead
        ((-3_650 * DAY_S, 10.0), False),
    ],
)
def test_a_backup_is_due_when_none_is_recent(ages_s: tuple[float, ...], due: bool) -> None:
    assert is_due([made(ago_s=age_s) for age_s in ages_s], every_s=DAY_S, now=NOW) is due

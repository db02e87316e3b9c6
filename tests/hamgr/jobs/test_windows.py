"""When change windows are open, in their time zones and across changes of the clocks (crontab(5))."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hamgr.jobs.windows import BadWindow, Opening, newest_moment, next_moment, opening
from statemachine.rollout import Window


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


NIGHTLY = Window(cron="0 22 * * *", duration_s=7200)


def test_a_window_is_open_from_its_moment_for_as_long_as_it_says() -> None:
    before = opening([NIGHTLY], moment("2026-03-01T21:59:59"))
    assert before == Opening(open_until=None, opens_at=moment("2026-03-01T22:00"))
    first = opening([NIGHTLY], moment("2026-03-01T22:00"))
    assert first == Opening(open_until=moment("2026-03-02T00:00"), opens_at=moment("2026-03-02T22:00"))
    assert opening([NIGHTLY], moment("2026-03-02T00:00")).open_until is None


def test_windows_that_overlap_are_open_until_the_last_one_closes() -> None:
    late = Window(cron="30 23 * * *", duration_s=7200)
    assert opening([NIGHTLY, late], moment("2026-03-01T23:45")).open_until == moment("2026-03-02T01:30")


def test_a_window_keeps_to_the_clocks_of_its_zone_when_they_change() -> None:
    window = Window(cron="0 6 * * *", duration_s=3600, zone="Europe/Madrid")
    assert opening([window], moment("2026-03-28T12:00")).opens_at == moment("2026-03-29T04:00")
    assert opening([window], moment("2026-10-24T12:00")).opens_at == moment("2026-10-25T05:00")


def test_no_window_is_none_that_is_open() -> None:
    assert opening([], 1_000_000.0) == Opening(open_until=None, opens_at=None)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        (Window(cron="61 * * * *", duration_s=60), "names no time"),
        (Window(cron="a b c d e", duration_s=60), "names no time"),
        (Window(cron="0 0 31 2 *", duration_s=60), "names no time"),
        (Window(cron="0 1 * * *", duration_s=60, zone="Mars/Olympus"), "no time zone"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused_by_name(window: Window, says: str) -> None:
    with pytest.raises(BadWindow, match=says):
        opening([window], 1_000_000.0)


def test_the_next_moment_is_the_first_one_after_the_time_given() -> None:
    at = moment("2026-03-01T03:00")
    assert next_moment("0 3 * * *", "UTC", at - 1) == at
    assert next_moment("0 3 * * *", "UTC", at) == at + 86_400


def test_the_newest_moment_is_the_last_one_that_has_passed() -> None:
    at = moment("2026-03-01T03:00")
    assert newest_moment("*/10 * * * *", "UTC", at - 3_600, at + 599) == at
    assert newest_moment("*/10 * * * *", "UTC", at - 3_600, at + 600) == at + 600
    assert newest_moment("*/10 * * * *", "UTC", at, at) == at
    assert newest_moment("0 3 * * *", "UTC", at + 1, at + 3_600) is None
    assert newest_moment("* * * * *", "Europe/Madrid", at - 3_600, at + 30) == at


def test_a_moment_that_the_clocks_skip_or_repeat_comes_once_a_day() -> None:
    spring = moment("2026-03-28T12:00")
    first = next_moment("30 2 * * *", "Europe/Madrid", spring)
    assert first is not None
    second = next_moment("30 2 * * *", "Europe/Madrid", first)
    assert second is not None
    assert spring < first < spring + 86_400 < second < spring + 2 * 86_400
    autumn = moment("2026-10-24T12:00")
    once = next_moment("30 2 * * *", "Europe/Madrid", autumn)
    assert once is not None
    again = next_moment("30 2 * * *", "Europe/Madrid", once)
    assert again is not None
    assert again - once > 3_600 * 12

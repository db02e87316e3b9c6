"""When change windows are open: cron expressions in time zones, worked out by the leader (crontab(5)).

1. Replicas never work this out for themselves: time zone tables differ between machines, the log must not.
2. An expression that names no moment within `HORIZON_S` is one that never opens.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from statemachine.rollout import Window

HORIZON_S = 5 * 366 * 86_400.0


class BadWindow(ValueError):
    """The window says no time; the message names what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How windows stand at a moment, in Unix seconds.

    Attributes:
        open_until: When the last of the open ones closes; None when none is open.
        opens_at: When the next one opens; None when none ever does.
    """

    open_until: float | None
    opens_at: float | None


def opening(windows: Iterable[Window], at: float) -> Opening:
    """Return how `windows` stand at `at`.

    Raises:
        BadWindow: One of them cannot be read.
    """
    open_until: list[float] = []
    opens_at: list[float] = []
    for window in windows:
        since = at - window.duration_s
        for moment in _moments(window, since, at):
            if moment <= at:
                open_until.append(moment + window.duration_s)
            else:
                opens_at.append(moment)
    return Opening(open_until=max(open_until, default=None), opens_at=min(opens_at, default=None))


def next_moment(cron: str, zone: str, after: float) -> float | None:
    """Return the first moment of `cron` in `zone` after `after`, in Unix seconds; None when none ever comes.

    Raises:
        BadWindow: They cannot be read.
    """
    window = Window(cron=cron, duration_s=0.0, zone=zone)
    return next((moment for moment in _moments(window, after, after) if moment > after), None)


def newest_moment(cron: str, zone: str, since: float, at: float) -> float | None:
    """Return the last moment from `since` to `at`, both included; None when there is none.

    Raises:
        BadWindow: They cannot be read.
    """
    window = Window(cron=cron, duration_s=at - since + 1.0, zone=zone)
    return max(
        (moment for moment in _moments(window, since - 1.0, at) if since <= moment <= at), default=None
    )


def _moments(window: Window, since: float, at: float) -> Iterable[float]:
    """Yield when `window` opens after `since`, up to the first opening after `at`."""
    try:
        zone = ZoneInfo(window.zone)
        began = datetime.fromtimestamp(since, tz=zone) - timedelta(minutes=1)
        for moment in CronSim(window.cron, began):
            opens = moment.timestamp()
            if opens > at + HORIZON_S:
                return
            if opens + window.duration_s > at:
                yield opens
            if opens > at:
                return
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadWindow(f"{window.zone!r} is no time zone that this replica knows") from error
    except CronSimError as error:
        raise BadWindow(f"{window.cron!r} names no time: {error}") from error

"""What is survived beyond any loss at once, thanks to the autopilot: in words, for status and previews."""

from collections.abc import Collection

from hamgr.api.context import Steering
from hamgr.autopilot.losses import Standing, survived


def also_survived(
    voters: Collection[str],
    connected: Collection[str],
    leader: str,
    *,
    autopilot: Steering | None,
    armed: bool = False,
) -> str:
    """Return one sentence; empty when there is nothing more to say, or no majority is connected.

    Args:
        armed: Each of two voters switches the other one off when that is dead, and goes on.
        leader: Empty when none is known; where it would not be a voter any more, another one leads.
    """
    if autopilot is None or not leader or len(connected) <= len(voters) // 2:
        return ""
    leads = leader if leader in connected else min(connected)
    now = Standing(frozenset(voters), frozenset(connected), leads, armed=armed)
    return survived(now, lets_go=True).sentence(autopilot.dead_s)

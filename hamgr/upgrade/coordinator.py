"""Whose turn it is: what a leader does next about an upgrade, from the state and from who is well.

1. One at a time; the others must be well, and enough of them to be a majority without whoever restarts.
2. The leader's own turn is the last: it hands leadership to a replica that is done, and that one goes on.
3. A replica that says nothing for longer than a turn can take stops the upgrade; its fate is unknown.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import TypeAlias

from statemachine.upgrading import Upgrade, UpgradePhase, UpgradeState


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a leader sees.

    Attributes:
        voters: Names, this leader's with them.
        members: Names of all replicas.
        well: Those that are connected and have caught up, and have been so for a while; with this leader.
        settled: No change of the members is under way.
    """

    me: str
    voters: Set[str]
    members: Set[str]
    well: Set[str]
    settled: bool
    now: float
    turn_s_max: float


@dataclass(frozen=True, slots=True)
class Give:
    """This replica's turn has come."""

    replica: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """This leader is the last; somebody who is done shall lead."""

    to: str


@dataclass(frozen=True, slots=True)
class Stop:
    """It cannot go on without a person; `given_up` has its turn and is waited for no longer."""

    why: str
    given_up: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now; `why` is empty where a replica is simply at work."""

    why: str = ""


Decision: TypeAlias = Give | HandOver | Stop | Wait


def decide(upgrade: Upgrade, view: View) -> Decision:
    """Return what a leader does next about an upgrade that runs, or whose last turn does."""
    if name := upgrade.at_work:
        return _overdue(upgrade, name, view)
    if upgrade.state is not UpgradeState.RUNNING:
        return Wait()
    waiting = [name for name, turn in upgrade.replicas.items() if turn.phase is UpgradePhase.WAITING]
    if gone := [name for name in waiting if name not in view.members]:
        return Stop(f"{gone[0]} belongs to the cluster no more; begin the upgrade again with those that do")
    if not view.settled:
        return Wait("a change of the members is under way")
    others = [name for name in waiting if name != view.me]
    if others:
        return _next(upgrade, others, view)
    done = [name for name, turn in upgrade.replicas.items() if turn.phase is UpgradePhase.DONE]
    heirs = [name for name in done if name in view.voters and name in view.well and name != view.me]
    if len(view.voters) == 1 and view.me in view.voters:
        return Give(view.me)
    if not heirs:
        return Wait(f"{view.me} leads and is the last; nobody who is done can lead in its place yet")
    return HandOver(heirs[0])


def short_of_majority(voters: Set[str], well: Set[str], without: str) -> str:
    """Return why `without` may not be restarted now; empty when a majority stays."""
    left = sorted((voters & well) - {without})
    needed = len(voters) // 2 + 1
    if len(left) >= needed or without not in voters:
        return ""
    return f"while {without} restarts, {len(left)} of {len(voters)} voters are left, and {needed} are needed"


def _next(upgrade: Upgrade, others: list[str], view: View) -> Decision:
    ready = [name for name in others if name in view.well]
    if not ready:
        return Wait(f"{others[0]} is not connected, or has not caught up")
    if not upgrade.force and (why := short_of_majority(view.voters, view.well, ready[0])):
        return Wait(why)
    return Give(ready[0])


def _overdue(upgrade: Upgrade, name: str, view: View) -> Decision:
    turn = upgrade.replicas[name]
    silent_s = view.now - turn.at
    if silent_s <= view.turn_s_max:
        return Wait()
    return Stop(
        f"{name} said nothing for {silent_s:.0f} s, the last was: {turn.sentence}; "
        "what became of it is unknown: look at that machine, then begin again",
        given_up=name,
    )

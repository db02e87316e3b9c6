"""Rules for upgrading hamgr itself.

1. At most one replica has its turn, and a replica only goes forward through the phases of one turn.
2. The first replica that does not take the new release stops the upgrade: nobody else gets a turn.
3. What a replica reports of itself is kept, also after the upgrade was stopped: it is what happened.
4. The same upgrade begun again goes on: replicas that are done stay so.
"""

import re
from typing import assert_never

from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.model import ERROR_CHARS_MAX
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.upgrade_commands import (
    BeginUpgrade,
    GiveUpgradeTurn,
    ReportUpgrade,
    StopUpgrade,
    UpgradeCommand,
)
from statemachine.upgrading import (
    ENDED,
    UPGRADED_MAX,
    VERSION_CHARS_MAX,
    WHEELS_MAX,
    Turn,
    Upgrade,
    UpgradePhase,
    UpgradeState,
)
from statemachine.words import DIGEST

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
_VERSION = re.compile(rf"[0-9][0-9A-Za-z.+!_-]{{0,{VERSION_CHARS_MAX - 1}}}\Z")
_ORDER = tuple(UpgradePhase)


def obey(draft: Draft, command: UpgradeCommand) -> Outcome:
    match command:
        case BeginUpgrade():
            return _begin(draft, command)
        case StopUpgrade():
            return _stop(draft, command)
        case GiveUpgradeTurn():
            return _give(draft, command)
        case ReportUpgrade():
            return _report(draft, command)
        case _:
            assert_never(command)


def _begin(draft: Draft, command: BeginUpgrade) -> Outcome:
    before = draft.before.upgrade
    if refused := _unusable(command):
        return refused
    if before is not None and (before.state is UpgradeState.RUNNING or before.at_work):
        who = f"; {before.at_work} has its turn" if before.at_work else ""
        return Rejected(
            reason=Reason.BUSY,
            message=f"hamgr is being upgraded to {before.version} already{who}",
            hint="`hamgr self status` shows how far it is, `hamgr self stop` ends it",
        )
    again = before is not None and before.version == command.version and before.wheels == command.wheels
    old = before.replicas if again and before is not None else {}
    turns = {}
    for name in command.replicas:
        turn = old.get(name, Turn())
        if name in command.done:
            turn = replace(turn, phase=UpgradePhase.DONE, sentence=f"{name} runs {command.version}")
        else:
            turn = Turn(tries=turn.tries)
        turns[name] = replace(turn, at=command.at)
    upgrade = Upgrade(
        id=before.id if again and before is not None else f"u-{draft.index}",
        version=command.version,
        wheels=command.wheels,
        replicas=turns,
        state=_state_of(turns),
        actor=command.actor,
        at=command.at,
        force=command.force,
        index=draft.index,
    )
    draft.set(upgrade=upgrade)
    draft.event("upgrade.begun", upgrade.id, f"hamgr is upgraded to {upgrade.version}, one replica at a time")
    return Accepted(index=draft.index, ref=upgrade.id)


def _unusable(command: BeginUpgrade) -> Rejected | None:
    if not _VERSION.match(command.version):
        return invalid(f"{command.version!a:.80} cannot be a version")
    if not 0 < len(command.wheels) <= WHEELS_MAX:
        return invalid(f"an upgrade has 1 to {WHEELS_MAX} wheels, and not {len(command.wheels)}")
    for wheel in command.wheels:
        if not DIGEST.match(wheel.digest) or not _VERSION.match(wheel.version):
            return invalid(f"the wheel {wheel.name!a:.80} has no digest or version that could be right")
    if not 0 < len(set(command.replicas)) == len(command.replicas) <= UPGRADED_MAX:
        return invalid("an upgrade names its replicas, each of them once")
    for name in command.replicas:
        if not _NAME.match(name):
            return invalid(f"{name!a:.80} cannot be a replica's name", name)
    return None


def _stop(draft: Draft, command: StopUpgrade) -> Outcome:
    before = _current(draft, command.upgrade)
    if isinstance(before, Rejected):
        return before
    why = (command.reason or f"{command.actor} stopped it")[:ERROR_CHARS_MAX]
    if command.given_up and command.given_up == before.at_work:
        before = _put(draft, before, command.given_up, _given_up(before, why, at=command.at))
    if before.state is UpgradeState.RUNNING:
        _stopped(draft, before, why)
    return Accepted(index=draft.index, ref=before.id)


def _give(draft: Draft, command: GiveUpgradeTurn) -> Outcome:
    before = _current(draft, command.upgrade)
    if isinstance(before, Rejected):
        return before
    turn = before.replicas.get(command.replica)
    if before.state is not UpgradeState.RUNNING or turn is None or turn.phase is not UpgradePhase.WAITING:
        return Rejected(reason=Reason.WRONG_STATUS, message=f"it is not {command.replica!a:.80} that waits")
    if before.at_work:
        return Rejected(reason=Reason.BUSY, message=f"{before.at_work} has its turn")
    sentence = f"{command.replica} installs {before.version}"
    after = Turn(phase=UpgradePhase.INSTALLING, sentence=sentence, at=command.at, tries=turn.tries + 1)
    _put(draft, before, command.replica, after)
    draft.event("upgrade.replica", command.replica, sentence)
    return Accepted(index=draft.index, ref=command.replica)


def _report(draft: Draft, command: ReportUpgrade) -> Outcome:
    before = _current(draft, command.upgrade)
    if isinstance(before, Rejected):
        return before
    turn = before.replicas.get(command.replica)
    if turn is not None and turn.phase is command.phase:
        return Accepted(index=draft.index, ref=command.replica)  # said twice, for an answer can be lost
    waits = turn is None or turn.phase in ENDED or turn.phase is UpgradePhase.WAITING
    if turn is None or waits or _ORDER.index(command.phase) <= _ORDER.index(turn.phase):
        return Rejected(
            reason=Reason.WRONG_STATUS, message=f"{command.replica!a:.80} cannot be {command.phase} now"
        )
    sentence = command.sentence[:ERROR_CHARS_MAX]
    upgrade = _put(
        draft, before, command.replica, replace(turn, phase=command.phase, sentence=sentence, at=command.at)
    )
    draft.event("upgrade.replica", command.replica, f"{command.phase}: {sentence}")
    if upgrade.state is UpgradeState.DONE:
        draft.event("upgrade.done", upgrade.id, f"all replicas run hamgr {upgrade.version}")
    elif upgrade.state is UpgradeState.RUNNING and command.phase in ENDED - {UpgradePhase.DONE}:
        _stopped(draft, upgrade, sentence)
    return Accepted(index=draft.index, ref=command.replica)


def abandoned(upgrade: Upgrade, why: str, *, at: float, index: int) -> Upgrade:
    """Return an upgrade that nobody carries out any more, whatever its replicas were at."""
    if upgrade.state is not UpgradeState.RUNNING and not upgrade.at_work:
        return upgrade
    turns = dict(upgrade.replicas)
    if name := upgrade.at_work:
        turns[name] = _given_up(upgrade, why, at=at)
    return replace(upgrade, replicas=turns, state=UpgradeState.STOPPED, why=why, index=index)


def _given_up(upgrade: Upgrade, why: str, *, at: float) -> Turn:
    return replace(upgrade.replicas[upgrade.at_work], phase=UpgradePhase.FAILED, sentence=why, at=at)


def _current(draft: Draft, upgrade: str) -> Upgrade | Rejected:
    before = draft.before.upgrade
    if before is None or before.id != upgrade:
        return Rejected(reason=Reason.STALE_CLAIM, message=f"there is no upgrade {upgrade!a:.80} any more")
    return before


def _put(draft: Draft, before: Upgrade, name: str, turn: Turn) -> Upgrade:
    turns = {**before.replicas, name: turn}
    state = before.state if before.state is UpgradeState.STOPPED else _state_of(turns)
    after = replace(before, replicas=turns, state=state, index=draft.index)
    draft.set(upgrade=after)
    return after


def _stopped(draft: Draft, before: Upgrade, why: str) -> None:
    draft.set(upgrade=replace(before, state=UpgradeState.STOPPED, why=why, index=draft.index))
    draft.event("upgrade.stopped", before.id, why)


def _state_of(turns: dict[str, Turn]) -> UpgradeState:
    done = all(turn.phase is UpgradePhase.DONE for turn in turns.values())
    return UpgradeState.DONE if done else UpgradeState.RUNNING

"""The lifecycle of a node as one table; the code and the picture in README are both read from it.

1. A status changes only by a trigger that has a cell in `TRANSITIONS`.
2. Every status has a row, and every row a way out that an operator can take (`OPERATOR_TRIGGERS`).
3. A status in service is reached only by `VERIFIED`: a proof made on the node, never by an exit code 0
   of the work itself.
"""

from collections.abc import Iterator
from enum import StrEnum

from statemachine.words import Status


class Trigger(StrEnum):
    SIGHTED = "sighted"
    COMMISSION = "commission"
    UPGRADE = "upgrade"
    DECOMMISSION = "decommission"
    VERIFIED = "verified"
    """The verify verbs passed on the node."""
    CLEANED = "cleaned"
    """A failed commission was cleaned up."""
    REVERTED_COMMISSIONED = "reverted to commissioned"
    """The last good bundle is back and verified, or the node had not been touched at all."""
    REVERTED_UPGRADED = "reverted to upgraded"
    REMOVED = "removed"
    """The cleanup verbs of a decommission passed."""
    STUCK = "stuck"
    """Cleanup or revert failed too, or nobody can know what happened: an operator decides."""


TRANSITIONS: dict[Status, dict[Trigger, Status]] = {
    Status.NEW: {Trigger.SIGHTED: Status.DISCOVERED},
    Status.DISCOVERED: {Trigger.COMMISSION: Status.COMMISSIONING},
    Status.COMMISSIONING: {
        Trigger.VERIFIED: Status.COMMISSIONED,
        Trigger.CLEANED: Status.DISCOVERED,
        Trigger.STUCK: Status.QUARANTINED,
    },
    Status.COMMISSIONED: {
        Trigger.UPGRADE: Status.UPGRADING,
        Trigger.DECOMMISSION: Status.DECOMMISSIONING,
    },
    Status.UPGRADING: {
        Trigger.VERIFIED: Status.UPGRADED,
        Trigger.REVERTED_COMMISSIONED: Status.COMMISSIONED,
        Trigger.REVERTED_UPGRADED: Status.UPGRADED,
        Trigger.STUCK: Status.QUARANTINED,
    },
    Status.UPGRADED: {
        Trigger.UPGRADE: Status.UPGRADING,
        Trigger.DECOMMISSION: Status.DECOMMISSIONING,
    },
    Status.DECOMMISSIONING: {
        Trigger.REMOVED: Status.DECOMMISSIONED,
        Trigger.REVERTED_COMMISSIONED: Status.COMMISSIONED,
        Trigger.REVERTED_UPGRADED: Status.UPGRADED,
        Trigger.STUCK: Status.QUARANTINED,
    },
    Status.DECOMMISSIONED: {Trigger.COMMISSION: Status.COMMISSIONING},
    Status.QUARANTINED: {
        Trigger.COMMISSION: Status.COMMISSIONING,
        Trigger.DECOMMISSION: Status.DECOMMISSIONING,
    },
}

IN_SERVICE = frozenset({Status.COMMISSIONED, Status.UPGRADED})
"""A node that does its role's work."""
COUNTED = IN_SERVICE | {Status.UPGRADING}
"""A node that counts for what another role requires: an upgrade is planned and returns to service."""
UNDERWAY = frozenset({Status.COMMISSIONING, Status.UPGRADING, Status.DECOMMISSIONING})
"""A task is at work; the way out is to cancel its job."""
FORGETTABLE = frozenset({Status.NEW, Status.DISCOVERED, Status.DECOMMISSIONED, Status.QUARANTINED})
"""Nodes that an operator may strike from the inventory."""
OPERATOR_TRIGGERS = frozenset({Trigger.COMMISSION, Trigger.UPGRADE, Trigger.DECOMMISSION})


def after(status: Status, trigger: Trigger) -> Status | None:
    """Return the status that `trigger` leads to from `status`; None when the table has no such cell."""
    return TRANSITIONS[status].get(trigger)


def allowed_from(trigger: Trigger) -> tuple[Status, ...]:
    """Return the statuses in which `trigger` is possible, in the order of the table."""
    return tuple(status for status, row in TRANSITIONS.items() if trigger in row)


def diagram() -> str:
    """Draw the table as a Mermaid state diagram (the picture in README)."""
    return "\n".join(["stateDiagram-v2", "    [*] --> new", *_arrows(), ""])


def _arrows() -> Iterator[str]:
    for status, row in TRANSITIONS.items():
        for trigger, target in row.items():
            yield f"    {status} --> {target}: {trigger}"
    for status in TRANSITIONS:
        if status in FORGETTABLE:
            yield f"    {status} --> [*]: forget"


if __name__ == "__main__":
    print(diagram(), end="")  # noqa: T201 - what README is made from

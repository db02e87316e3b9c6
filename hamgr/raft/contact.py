"""A leader's proof that it leads now, for what must never be done by two: see `hamgr.vip.lease`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hamgr.raft.core.core import Core


@dataclass(frozen=True, slots=True)
class Contact:
    """What a leader knows of its majority.

    Attributes:
        term: In which it leads; an entry of this term is committed.
        at: A moment of this replica's monotonic clock at which a majority still followed it.
        handed_over: The leader before it asked for the election.
    """

    term: int
    at: float
    handed_over: bool


def contact_of(core: "Core", now: float) -> Contact | None:
    """Return the proof as of now; None when this replica does not lead, must not, or has yet to prove it."""
    age_s = core.quorum_age_s() if core.leads and not core.renounced else None
    if age_s is None or core.log.term_at(core.commit) != core.term:
        return None
    return Contact(term=core.term, at=now - age_s, handed_over=core.election.for_transfer)

"""Who may hold the address, and until when: the rules, without sockets, threads or a clock of their own.

1. A leader may hold the address until `contact.at + lease_s`. `contact.at` is a moment of the leader's own
   clock: messages that it sent then or later were answered by a majority, in its own term (`raft.contact`).
2. `lease_s` is `election_s_min + probe_s - MARGIN_S`, and a new leader takes the address only after it has
   asked the network for `probe_s`. Therefore two leaders never hold it at once:
   - each voter of that majority heard the leader after `contact.at`, and grants nobody anything for
     `election_s_min` (stickiness, see `hamgr.raft.protocol.election`). A new leader needs one of them, so
     it is elected after `contact.at + election_s_min`, and takes the address `probe_s` later at the
     earliest. By then the lease has been over for `MARGIN_S`.
   - Clocks are never compared; they only have to run alike for `lease_s`, to `MARGIN_S` in it (7 %).
   - Two ways around stickiness exist. A leader that hands leadership over has let the address go before
     it asks (`handover`), so its successor may ask the network for `HANDED_OVER_PROBE_S` only, if nobody
     answers. A leader whose process is dead (its host refuses connections) has an address that the
     watchdog removes when its pipe breaks, before somebody else is elected and has asked for `probe_s`.
3. Somebody who answers a probe is one of our replicas, known by its link-layer address, or a stranger. A
   replica that answers has lost its lease and cannot act on it: its kernel answers for frozen processes,
   for `watchdog.VALID_S` and a second at most. Its address is taken, and announced until it is silent.
4. From a stranger the address is not taken. It is asked again after `RETRY_S`, then ever more rarely, up to
   `RETRY_S_MAX`; nothing is announced meanwhile, so nothing flaps. A host of ours that is not recognised
   (its VIP is on another network than its Raft address) is silent by the first retry.
5. The address that was lost is not taken back before the network was asked again.
"""

from dataclasses import dataclass
from enum import Enum

from hamgr.raft.contact import Contact

MARGIN_S = 0.02
PROBE_S = 0.08
HANDED_OVER_PROBE_S = 0.01
RETRY_S, RETRY_S_MAX = 2.5, 30.0


class Step(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    ASK = "ask"
    """Send a probe; a new round has begun."""
    LISTEN = "listen"
    TAKE = "take"
    RENEW = "renew"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else answers for the address.

    Attributes:
        whose: Name of the replica that it is; empty for a stranger.
    """

    ip: str
    mac: str
    whose: str

    @property
    def sentence(self) -> str:
        if self.whose:
            return (
                f"{self.ip} is still answered by {self.mac}, which is {self.whose}: "
                "its kernel runs, though its hamgr does not or is cut off; the address moves all the same"
            )
        return (
            f"{self.ip} is already used by {self.mac}, which is no replica of ours, so the address is not "
            "taken; switch it off there, or configure an unused one"
        )


class Tenure:
    """One replica's hold on the address; whoever owns it passes its monotonic clock's seconds in."""

    def __init__(self, *, election_s_min: float, probe_s: float = PROBE_S) -> None:
        self.lease_s = election_s_min + probe_s - MARGIN_S
        self.conflict: Conflict | None = None
        self.held = False
        self._probe_s = probe_s
        self._asked_in: int | None = None
        self._take_at = 0.0
        self._asked_at = 0.0
        self._not_before = float("-inf")
        self._retry_s = RETRY_S

    def until(self, contact: Contact) -> float:
        """Return when the lease that `contact` gives is over."""
        return contact.at + self.lease_s

    def step(self, now: float, contact: Contact | None) -> Step:
        """Return what to do; `taken`, `answered` and `lost` tell what came of it."""
        if contact is None or now >= self.until(contact):
            self._asked_in = None
            if contact is None:
                self._calm()
            return Step.DROP if self.held else Step.NOTHING
        if self.held:
            return Step.RENEW
        if now < self._not_before:
            return Step.NOTHING
        if self._asked_in != contact.term:
            self._asked_in, self._asked_at = contact.term, now
            self._take_at = now + (HANDED_OVER_PROBE_S if contact.handed_over else self._probe_s)
            self.conflict = None
            return Step.ASK
        return Step.LISTEN if now < self._take_at else Step.TAKE

    def answered(self, now: float, conflict: Conflict) -> None:
        """Note that somebody answered for the address that we asked for."""
        self.conflict = conflict
        if self.held:
            return
        if conflict.whose:
            self._take_at = max(self._take_at, self._asked_at + self._probe_s)
        else:
            self.refused(now)

    def refused(self, now: float) -> None:
        """Note that the address cannot be taken now."""
        self._asked_in = None
        self._not_before = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)

    def taken(self) -> None:
        """Note that the address is here."""
        self.held = True
        self._retry_s = RETRY_S

    def lost(self) -> None:
        """Note that the address is here no longer, dropped or expired."""
        self.held, self._asked_in = False, None

    def _calm(self) -> None:
        """Forget a former tenure's troubles: whoever is elected next asks at once."""
        self.conflict = None
        self._not_before, self._retry_s = float("-inf"), RETRY_S

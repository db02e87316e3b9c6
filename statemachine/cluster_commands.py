"""The entries of the log that are about the cluster itself; `commands` has the rules for all of them."""

from dataclasses import dataclass
from typing import TypeAlias

from statemachine.joining import JoinsAs
from statemachine.stamped import Stamped


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeJoinToken(Stamped):
    """Let one machine join, once, until `expires_at`.

    Attributes:
        sha256: Of the secret, which whoever asks has made and the cluster never sees before it is used.
        name: What may join with it; empty for any name that is free.
    """

    sha256: str
    joins_as: JoinsAs
    expires_at: float
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeJoinToken(Stamped):
    """Take a token back that was not used."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemJoinToken(Stamped):
    """A machine joins. The same machine (`key`) may say so again, and gets the same answer.

    Attributes:
        key: SHA-256 of its public key, in hexadecimal.
        replica: Its id as a replica; empty for a node.
    """

    sha256: str
    joins_as: JoinsAs
    name: str
    key: str
    replica: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetElectorate(Stamped):
    """Say how many replicas should vote: 1, 3, 5 or 7."""

    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplica(Stamped):
    """Say what is wished of a replica; `None` leaves a part as it is.

    Attributes:
        domain: The failure domain that it is in; empty for none.
        standby: It is not to vote.
        rest_until: Until then its absence is planned; 0 ends that.
    """

    name: str
    domain: str | None = None
    standby: bool | None = None
    rest_until: float | None = None
    rest_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReplica(Stamped):
    """Tell watchers what became of a replica: it is an event, and nothing else.

    Attributes:
        kind: What happened, in a word: `promoted`, `demoted`, `fenced`.
    """

    name: str
    kind: str
    message: str


ClusterCommand: TypeAlias = (
    MakeJoinToken | RevokeJoinToken | RedeemJoinToken | SetElectorate | SetReplica | ReportReplica
)

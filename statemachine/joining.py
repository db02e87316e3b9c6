"""What is kept of a join token: never the token itself, only what proves and bounds it."""

from dataclasses import dataclass
from enum import StrEnum

JOIN_TOKENS_MAX = 256
"""Tokens that are kept, ended ones too; the oldest ended ones go first."""
JOIN_TTL_S_MAX = 30 * 86_400.0


class JoinsAs(StrEnum):
    """What a join token is for."""

    REPLICA = "replica"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """A token by which one machine may join, once.

    Attributes:
        id: How people name it: the beginning of `sha256`.
        sha256: Of the secret, in hexadecimal.
        name: What may join with it; empty when the machine chooses its name.
        used_at: When it was redeemed; 0 before.
        key: SHA-256 of the public key that it was redeemed for; only that one gets the same answer again.
        joined: The name that joined with it.
        replica: The id that the replica that joined was given.
        revoked: Somebody took it back before it was used.
    """

    id: str
    sha256: str
    joins_as: JoinsAs
    name: str = ""
    actor: str = ""
    made_at: float = 0.0
    expires_at: float = 0.0
    used_at: float = 0.0
    key: str = ""
    joined: str = ""
    replica: str = ""
    revoked: bool = False
    index: int = 0

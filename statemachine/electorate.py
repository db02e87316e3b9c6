"""What operators wish of the replicas; who really votes is in the log of consensus, and not in the state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TARGETS = (1, 3, 5, 7)
TARGET_DEFAULT = 5
REPLICAS_MAX = 64
DOMAIN_CHARS_MAX = 63
REST_S_MAX = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaWish:
    """What is wished of one replica.

    Attributes:
        domain: The failure domain that it is in (a rack, a site); empty when nobody said.
        standby: It is not to be made a voter.
        rest_until: Until then its absence is planned; 0 when none is.
        rest_reason: Why, in words.
    """

    domain: str = ""
    standby: bool = False
    rest_until: float = 0.0
    rest_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Electorate:
    """All that is wished.

    Attributes:
        target: How many voters there should be.
        replicas: By name; those of whom nothing is wished are not there.
        index: Of the last change.
    """

    target: int = TARGET_DEFAULT
    replicas: Mapping[str, ReplicaWish] = field(default_factory=dict)
    index: int = 0

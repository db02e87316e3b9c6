"""What every entry of the log has, whatever it says."""

from dataclasses import dataclass

from statemachine.words import RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    request_id: RequestId
    at: float
    """Unix seconds, read by the proposer; replicas never read a clock."""
    actor: str
    """Who asked: an API identity, or the replica itself."""

"""What there is to measure of the stored logs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFigures:
    """One moment.

    Attributes:
        stored_bytes: What the logs on this replica's disk take.
        owed_attempts: Outputs that this replica has yet to store.
        damaged: Stored logs that were found damaged since the start; they are fetched anew.
        failing: Nothing can be stored now; the daemon's log says why.
    """

    stored_bytes: int = 0
    owed_attempts: int = 0
    damaged: int = 0
    failing: bool = False

"""A verdict's reason, in one sentence."""

from typing import Protocol

from hamgr.presence.records import Record


class Circumstances(Protocol):
    """What a reason tells beside the probes."""

    @property
    def job(self) -> str: ...
    @property
    def cordon(self) -> str: ...
    @property
    def replica(self) -> str: ...
    @property
    def replica_up(self) -> bool: ...


def reason_of(record: Record, subject: Circumstances, *, second: bool) -> str:
    """Say who has missed a node how often, and what else is known."""
    counts = sorted(record.misses.items(), key=lambda pair: (-pair[1], pair[0]))
    (first, count), *rest = counts
    told = f"no answer to {count} probes from {first}"
    if rest:
        told += " and " + " and ".join(f"{number} from {vantage}" for vantage, number in rest)
    told += f" ({record.why})" if record.why else ""
    if not second:
        told += "; no other replica could be asked"
    if subject.replica:
        told += f"; its own replica {subject.replica} is {'connected' if subject.replica_up else 'gone too'}"
    if subject.job:
        told += f"; job {subject.job} is at work on it, and tells when it gives up"
    if subject.cordon:
        told += f"; it is in maintenance: {subject.cordon}"
    return told

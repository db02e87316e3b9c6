"""What one replica can say about its part in the consensus: the figures behind /metrics and /v1/replica.

1. `Figures` is a copy of one moment. It is made when somebody asks, never by the work that it measures.
2. What nobody measured is None, and not a zero that could be mistaken for a measurement.
3. A `Histogram` is written by one thread and copied by another, without a lock: what is lost between the two
   is at most the sum's share of one observation, until the next copy.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

SYNC_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From a disk with a protected cache to one that costs leadership; 0.1 is where the alert begins."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often which size was observed.

    Attributes:
        bounds: The buckets' upper bounds, rising; a bucket holds what is at most its bound.
        counts: One for each bucket, and one more for what is above the last bound; not cumulated.
        total: The sum of all observations.
    """

    bounds: tuple[float, ...] = SYNC_BUCKETS_S
    counts: tuple[int, ...] = (0,) * (len(SYNC_BUCKETS_S) + 1)
    total: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)


class Histogram:
    """Counts observations in fixed buckets; see rule 3 for its threads."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...] = SYNC_BUCKETS_S) -> None:
        """Start with nothing observed.

        Raises:
            ValueError: `bounds` do not rise.
        """
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"the bounds {bounds} do not rise; sort them and name each once")
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count `value` in the first bucket whose bound is not below it; by the writing thread only."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def copy(self) -> Distribution:
        """Return what was observed so far; from any thread."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFigures:
    """The link to one other replica.

    Attributes:
        connected: Messages can be sent to it now.
        round_trip_s: The last one that was measured; None before that.
        lag_entries: Entries of the log that it has not acknowledged; None unless this replica leads.
        queued_bytes: Waiting to be sent to it.
    """

    connected: bool
    round_trip_s: float | None = None
    lag_entries: int | None = None
    queued_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFigures:
    """Snapshots, made here and exchanged with peers.

    Attributes:
        last_index: Index in the log of the newest one on disk; 0 when there is none.
        bytes: Its size.
        seconds: How long it took to be made; None when this process has made none.
        sent, received, refused: Whole snapshots that went to peers, came from them, or came damaged.
        receiving: One is coming in now; until it is here, nothing is applied or acknowledged.
    """

    last_index: int = 0
    bytes: int = 0
    seconds: float | None = None
    sent: int = 0
    received: int = 0
    refused: int = 0
    receiving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """What waits in this replica: commands for an outcome, reads for a confirmation, messages for a turn."""

    proposals: int = 0
    reads: int = 0
    inbox: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Turns of a loop that were late by more than half the least election time-out."""

    count: int = 0
    longest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One replica's consensus at one moment; all counts are since the process started.

    Attributes:
        term, leader, leads: As in `port.Leadership`.
        voters, learners: Names of the members in force here.
        first_index, last_index: What the log on disk holds.
        commit_index: Up to here the log is known to be committed.
        applied_index: Up to here it is in the state.
        staleness_s: As `port.Replica.staleness_s`.
        elections: How often this replica stood for election.
        pre_votes: How often it asked whether it could win one (Raft dissertation, section 9.6).
        leader_changes: How often it learnt of a leader other than the one before.
        sync: Seconds that fdatasync(2) of the journal took.
        journal_bytes: Size of the journal's files.
        peers: By name.
        stalls: Of the loop of the consensus, where they cost leadership.
        api_stalls: Of the loop that everything else runs on; None when nobody watches it.
        refused: Messages and connections that were refused, by reason; reasons are fixed words of the code.
        divergences: How often this replica's state was found to differ from what the others agreed on.
        diverged: It was, and is not put right yet: nothing is served.
        renounced: It must not lead, for example because the log has commands of a later version.
        warning: One sentence with the way out when a person is needed; else empty.
        certificate_expires_at: Unix time after which peers refuse this replica's certificate.
    """

    term: int = 0
    leader: str = ""
    leads: bool = False
    voters: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()
    first_index: int | None = None
    last_index: int | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    staleness_s: float | None = None
    elections: int = 0
    pre_votes: int = 0
    leader_changes: int = 0
    sync: Distribution = field(default_factory=Distribution)
    journal_bytes: int = 0
    snapshot: SnapshotFigures = field(default_factory=SnapshotFigures)
    peers: Mapping[str, PeerFigures] = field(default_factory=dict)
    queues: Queues = field(default_factory=Queues)
    stalls: Stalls = field(default_factory=Stalls)
    api_stalls: Stalls | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    divergences: int = 0
    diverged: bool = False
    renounced: bool = False
    warning: str = ""
    certificate_expires_at: float | None = None

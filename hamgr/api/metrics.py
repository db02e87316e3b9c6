"""What /metrics shows: one replica's figures in Prometheus' text format, version 0.0.4.

1. Everything is read when it is scraped; nothing is kept between two scrapes, and there is no registry.
2. A metric that nobody measured is left out, so that an alert on it says "absent" and not "0".
3. Names are for ever, as the API's are: base units, `_total` for what only rises until the process ends.
4. Label values come from the code or name members of the cluster, so that their number is bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from hamgr.logs.figures import LogFigures
from hamgr.raft.figures import Distribution, Figures, PeerFigures
from hamgr.raft.port import Replica

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "hamgr_raft_"

_GAUGES: tuple[tuple[str, str, Callable[[Figures], float | None]], ...] = (
    ("term", "Raft's current term.", lambda f: f.term),
    ("has_leader", "1 while this replica knows who leads.", lambda f: bool(f.leader)),
    ("is_leader", "1 while this replica leads.", lambda f: f.leads),
    ("first_index", "The first entry that the log on disk still has.", lambda f: f.first_index),
    ("last_index", "The last entry of the log.", lambda f: f.last_index),
    ("commit_index", "The last entry that is known to be committed.", lambda f: f.commit_index),
    ("applied_index", "The last entry that was applied to the state.", lambda f: f.applied_index),
    (
        "staleness_seconds",
        "All that was committed so long ago is in the state of this replica.",
        lambda f: f.staleness_s,
    ),
    ("journal_bytes", "Size of the journal's files.", lambda f: f.journal_bytes),
    (
        "snapshot_last_index",
        "The last entry in the newest snapshot.",
        lambda f: f.snapshot.last_index,
    ),
    ("snapshot_bytes", "Size of the newest snapshot.", lambda f: f.snapshot.bytes),
    (
        "snapshot_duration_seconds",
        "How long the newest snapshot that was made here took.",
        lambda f: f.snapshot.seconds,
    ),
    (
        "snapshot_receiving",
        "1 while a snapshot is received; nothing is applied meanwhile.",
        lambda f: f.snapshot.receiving,
    ),
    (
        "diverged",
        "1 while the state is known to differ from the others'.",
        lambda f: f.diverged,
    ),
    ("renounced", "1 while this replica must not lead.", lambda f: f.renounced),
    ("warning", "1 while /v1/replica has a warning.", lambda f: bool(f.warning)),
)

_COUNTERS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("elections", "How often this replica stood for election.", lambda f: f.elections),
    ("pre_votes", "How often this replica asked whether it could win an election.", lambda f: f.pre_votes),
    ("leader_changes", "How often this replica learnt of another leader.", lambda f: f.leader_changes),
    ("snapshots_sent", "Whole snapshots that were sent to peers.", lambda f: f.snapshot.sent),
    ("snapshots_received", "Whole snapshots that came from a peer.", lambda f: f.snapshot.received),
    ("snapshots_refused", "Snapshots that came damaged.", lambda f: f.snapshot.refused),
    ("divergences", "How often the state was found to differ from the others'.", lambda f: f.divergences),
)

_PEER_GAUGES: tuple[tuple[str, str, Callable[[PeerFigures], float | None]], ...] = (
    ("connected", "1 while messages can be sent to the peer.", lambda p: p.connected),
    ("round_trip_seconds", "The last round trip that was measured.", lambda p: p.round_trip_s),
    ("lag_entries", "Entries that the peer has not acknowledged to this leader.", lambda p: p.lag_entries),
    ("queued_bytes", "Bytes that wait to be sent to the peer.", lambda p: p.queued_bytes),
)


def exposition(
    replica: Replica,
    *,
    version: str,
    now: float,
    logs: LogFigures,
    vip: Mapping[str, float] | None = None,
    fencing: Mapping[str, float] | None = None,
    backup_at: float | None = None,
) -> bytes:
    """Return all metrics of a replica, as `CONTENT_TYPE` has it."""
    return generate_latest(
        _ReplicaCollector(replica, version, now, logs, vip or {}, fencing or {}, backup_at)
    )


class _ReplicaCollector(Collector):
    """Yields the metrics of one moment."""

    def __init__(
        self,
        replica: Replica,
        version: str,
        now: float,
        logs: LogFigures,
        vip: Mapping[str, float],
        fencing: Mapping[str, float],
        backup_at: float | None,
    ) -> None:
        self._replica = replica
        self._version = version
        self._now = now
        self._logs = logs
        self._vip = vip
        self._fencing = fencing
        self._backup_at = backup_at

    def collect(self) -> Iterator[Metric]:
        figures = self._replica.figures
        about = {"version": self._version, "replica": self._replica.name}
        yield InfoMetricFamily("hamgr_build", "Version and name of the replica; always 1.", about)
        yield GaugeMetricFamily("hamgr_time_seconds", "Unix time by the replica's clock.", self._now)
        yield from _consensus(figures)
        yield from _links(figures)
        yield from _loops(figures)
        yield from _job_logs(self._logs)
        yield from _vip(self._vip)
        for name, value in self._fencing.items():
            yield GaugeMetricFamily(f"hamgr_fencing_{name}", _FENCING[name], value)
        if self._backup_at is not None:
            yield GaugeMetricFamily(
                "hamgr_backup_last_timestamp_seconds",
                "Unix time of the newest backup that this replica made and verified.",
                self._backup_at,
            )
        if figures.certificate_expires_at is not None:
            yield GaugeMetricFamily(
                "hamgr_certificate_expires_timestamp_seconds",
                "Unix time from which peers refuse this replica's certificate.",
                figures.certificate_expires_at,
            )
        yield from ProcessCollector(registry=None).collect()


def _consensus(figures: Figures) -> Iterator[Metric]:
    for name, text, gauge in _GAUGES:
        if (value := gauge(figures)) is not None:
            yield GaugeMetricFamily(_PREFIX + name, text, value)
    for name, text, count in _COUNTERS:
        yield CounterMetricFamily(_PREFIX + name, text, count(figures))
    members = GaugeMetricFamily(_PREFIX + "members", "Members that this replica knows of.", labels=["role"])
    members.add_metric(["voter"], len(figures.voters))
    members.add_metric(["learner"], len(figures.learners))
    yield members
    queues = GaugeMetricFamily(_PREFIX + "queue_length", "What waits in this replica.", labels=["queue"])
    queues.add_metric(["proposals"], figures.queues.proposals)
    queues.add_metric(["reads"], figures.queues.reads)
    queues.add_metric(["inbox"], figures.queues.inbox)
    yield queues
    yield _histogram("sync_seconds", "How long the journal took to reach the disk.", figures.sync)


def _histogram(name: str, text: str, found: Distribution) -> Metric:
    bounds = (*map(floatToGoString, found.bounds), "+Inf")
    buckets = list(zip(bounds, accumulate(map(float, found.counts)), strict=True))
    return HistogramMetricFamily(_PREFIX + name, text, buckets=buckets, sum_value=found.total)


def _links(figures: Figures) -> Iterator[Metric]:
    for name, text, gauge in _PEER_GAUGES:
        family = GaugeMetricFamily(f"{_PREFIX}peer_{name}", text, labels=["peer"])
        for peer, link in sorted(figures.peers.items()):
            if (value := gauge(link)) is not None:
                family.add_metric([peer], value)
        if family.samples:
            yield family
    refused = CounterMetricFamily(
        _PREFIX + "refused", "Messages and connections that were refused.", labels=["reason"]
    )
    for reason, times in sorted(figures.refused.items()):
        refused.add_metric([reason], times)
    yield refused


def _loops(figures: Figures) -> Iterator[Metric]:
    loops = {"raft": figures.stalls} | ({"api": figures.api_stalls} if figures.api_stalls else {})
    count = CounterMetricFamily("hamgr_loop_stalls", "Turns that came much too late.", labels=["loop"])
    longest = GaugeMetricFamily(
        "hamgr_loop_stall_longest_seconds", "The latest turn since the start.", labels=["loop"]
    )
    for loop, stalls in loops.items():
        count.add_metric([loop], stalls.count)
        longest.add_metric([loop], stalls.longest_s)
    yield count
    yield longest


_FENCING = {
    "armed": "1 while either of the two voters goes on when it has switched the other one off.",
    "failed": "1 while the last test of this replica's fencing command failed.",
    "passed_timestamp_seconds": "Unix time of the last test that went well.",
}
_VIP = {
    "held": "1 while this replica holds the virtual address.",
    "trouble": "1 while something keeps this replica from holding the virtual address.",
    "watchdog_resident_bytes": "What of the watchdog is in memory.",
    "takes_total": "How often this replica took the virtual address.",
    "drops_total": "How often it let the virtual address go, or lost it.",
    "conflicts_total": "How often somebody else answered for the virtual address.",
}


def _vip(figures: Mapping[str, float]) -> Iterator[Metric]:
    for name, value in figures.items():
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield kind("hamgr_vip_" + name.removesuffix("_total"), _VIP[name], value)


def _job_logs(logs: LogFigures) -> Iterator[Metric]:
    prefix = "hamgr_job_logs_"
    for name, text, value in (
        ("stored_bytes", "What the job logs on this replica's disk take.", logs.stored_bytes),
        ("owed", "Attempts whose output this replica has yet to store.", logs.owed_attempts),
        ("failing", "1 while this replica cannot store job logs.", logs.failing),
    ):
        yield GaugeMetricFamily(prefix + name, text, value)
    yield CounterMetricFamily(prefix + "damaged", "Stored job logs that were found damaged.", logs.damaged)

"""Fills in the figures of a replica from its consensus, when somebody asks.

Reads what another thread writes, one value at a time: each is whole, but two may be a turn apart.
"""

from collections.abc import Mapping

from hamgr.raft.consensus import Consensus
from hamgr.raft.core.core import Core
from hamgr.raft.figures import Figures, PeerFigures, Queues, SnapshotFigures, Stalls

REFUSED = (
    "bad_messages",
    "duplicate_votes",
    "foreign_messages",
    "later_types",
    "stale_acknowledgements",
    "stale_leaders",
    "votes_kept_for_leader",
)
"""Counters of the core that are refusals of what a peer sent."""
NOT_REFUSED = frozenset(
    {"accepts_failed", "dials_failed", "dropped_without_link", "expiry_warnings", "links_accepted"}
    | {"links_made", "reloads"}
)
"""Counters of the links that are not about anything a peer or a stranger did wrong."""


def figures_of(
    consensus: Consensus, *, staleness_s: float | None, proposals: int, reads: int, api_stalls: Stalls
) -> Figures:
    """Return what there is to measure of a replica, now."""
    core, leadership = consensus.core, consensus.leadership
    common = Figures(
        term=leadership.term,
        leader=leadership.leader,
        leads=leadership.leads,
        staleness_s=staleness_s,
        leader_changes=consensus.leader_changes,
        sync=consensus.sync.copy(),
        queues=Queues(proposals=proposals, reads=reads, inbox=len(consensus.requests)),
        stalls=consensus.meter.stalls,
        api_stalls=api_stalls,
        divergences=consensus.keeper.divergences,
        diverged=bool(consensus.keeper.diverged),
        warning=consensus.closed,
        certificate_expires_at=None if consensus.links is None else consensus.links.expires_at,
    )
    return common if core is None else _with_core(common, consensus, core)


def _with_core(figures: Figures, consensus: Consensus, core: Core) -> Figures:
    configuration, counters = core.configuration, dict(core.counters)
    refused = {name: counters[name] for name in REFUSED if name in counters}
    links = {} if consensus.links is None else dict(consensus.links.counters)
    refused |= {name: count for name, count in links.items() if name not in NOT_REFUSED}
    return Figures(
        **{
            **{name: getattr(figures, name) for name in figures.__slots__},
            "voters": tuple(sorted(member.name for member in configuration.voters)),
            "learners": tuple(sorted(member.name for member in configuration.learners)),
            "first_index": core.log.first,
            "last_index": core.log.last,
            "commit_index": core.commit,
            "applied_index": core.applied,
            "elections": counters.get("candidacies", 0),
            "pre_votes": counters.get("pre_votes", 0),
            "journal_bytes": core.log.size_bytes,
            "snapshot": _snapshot(consensus, counters),
            "peers": _peers(consensus, core),
            "refused": refused,
            "renounced": bool(core.renounced),
        }
    )


def _snapshot(consensus: Consensus, counters: Mapping[str, int]) -> SnapshotFigures:
    try:
        size = (consensus.settings.data_dir / "snapshot").stat().st_size
    except OSError:
        size = 0
    return SnapshotFigures(
        last_index=consensus.keeper.snapshot_index,
        bytes=size,
        seconds=consensus.keeper.snapshot_s,
        sent=counters.get("snapshots_sent", 0),
        received=counters.get("snapshots_received", 0),
        refused=counters.get("snapshots_refused", 0),
        receiving=consensus.receiving,
    )


def _peers(consensus: Consensus, core: Core) -> dict[str, PeerFigures]:
    found: dict[str, PeerFigures] = {}
    for member in core.configuration.members:
        if member.id == core.me:
            continue
        progress = core.replicator.followers.get(member.id)
        found[member.name] = PeerFigures(
            connected=core.is_up(member.id),
            round_trip_s=None if progress is None else progress.round_trip_s,
            lag_entries=core.lag(member.id),
            queued_bytes=0 if consensus.links is None else consensus.links.queued_bytes(member.id),
        )
    return found

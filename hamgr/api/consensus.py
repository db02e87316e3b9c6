"""One replica's part in the consensus, as /v1/replica and /readyz tell it."""

from collections.abc import Mapping
from typing import Any

from hamgr.raft.figures import Figures


def obstacle(figures: Figures, *, staleness_s_max: float) -> str:
    """Return why this replica should get no requests although a leader may be known; empty when it may.

    The sentences name no other replica: /readyz tells them to anybody.
    """
    if figures.diverged:
        return "this replica's state differs from the others'; it serves again once it has fetched theirs"
    if figures.renounced:
        return "this replica met what it cannot follow, and takes no part until that is put right"
    if figures.snapshot.receiving:
        return "this replica is receiving a snapshot, and can apply nothing until it is here"
    age_s = figures.staleness_s
    if age_s is None and figures.leader and figures.applied_index is not None:
        return "this replica has not caught up with its leader yet"
    if age_s is not None and age_s > staleness_s_max:
        return f"this replica is {age_s:.0f} s behind; more than {staleness_s_max:g} s is too much"
    return ""


def view(figures: Figures) -> dict[str, Any]:
    """Return what a person looks at first; null where nothing is known.

    Indexes are places in the log, which has entries that are no commands: they are not the state's index.
    """
    return {
        "voters": list(figures.voters),
        "learners": list(figures.learners),
        "first_index": figures.first_index,
        "last_index": figures.last_index,
        "commit_index": figures.commit_index,
        "applied_index": figures.applied_index,
        "staleness_s": figures.staleness_s,
        "elections": figures.elections,
        "leader_changes": figures.leader_changes,
        "stalls": figures.stalls.count,
        "journal_bytes": figures.journal_bytes,
        "snapshot_last_index": figures.snapshot.last_index,
        "snapshot_receiving": figures.snapshot.receiving,
        "peers": {
            name: {
                "connected": peer.connected,
                "round_trip_s": peer.round_trip_s,
                "lag_entries": peer.lag_entries,
            }
            for name, peer in sorted(figures.peers.items())
        },
        "refused": dict(sorted(figures.refused.items())),
        "diverged": figures.diverged,
        "renounced": figures.renounced,
        "warning": figures.warning,
        "certificate_expires_at": figures.certificate_expires_at,
    }


def complaints(answers: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, str]]:
    """Return the warnings of replicas that a person must look at.

    Args:
        answers: What each replica told of itself, by name; None when it told nothing.
    """
    found = []
    for name, answer in sorted(answers.items()):
        consensus = answer.get("consensus") if answer else None
        sentence = consensus.get("warning") if isinstance(consensus, Mapping) else ""
        if sentence:
            hint = f"see docs/operating.md; `journalctl -u hamgrd` on {name} tells the story"
            found.append({"code": "replica-warning", "message": f"{name}: {sentence}", "hint": hint})
    return found

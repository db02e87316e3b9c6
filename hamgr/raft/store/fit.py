"""Whether a journal and a snapshot belong together, and to the folder that they are in."""

from hamgr.raft.store.recovery import Recovered
from hamgr.raft.store.snapshot import Snapshot


def misfit(recovered: Recovered | None, snapshot: Snapshot | None, identity: bytes | None) -> str:
    """Say in half a sentence why the two cannot be believed together, or return an empty string.

    Args:
        identity: Which journal belongs here; None: any, or none yet.
    """
    if recovered is None:
        if snapshot is not None:
            return "a snapshot is there but the journal is gone"
        return "" if identity is None else "the journal is gone"
    if identity not in (None, recovered.header.identity):
        return "the journal is the journal of another folder"
    log = recovered.entries
    reach = 0 if snapshot is None else snapshot.last[1]
    first = log[0][1] if log else 1
    if first > 1 and reach <= first:
        return f"the journal begins at entry {first} and no snapshot leads up to it"
    if snapshot is not None and reach <= min(recovered.barrier.commit, first + len(log) - 1):
        place = reach - first
        if log[place - 1 : place + 1] != [snapshot.before_last, snapshot.last]:
            return f"the journal and the snapshot disagree about entry {reach}"
    return ""

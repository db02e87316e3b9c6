"""What a follower may forget: Raft's rule, which the library does not keep.

A follower takes an entry back only when the leader sends another one in its place (Raft, section 5.3, step 3
of AppendEntries). The library takes back everything after the entry before the message, so that a message
that comes late, or twice, or is a mere heartbeat, undoes what was acknowledged.
"""

from collections.abc import Sequence
from typing import Any

from hamgr.raft.protocol.raft import LogEntry


def spare_known_entries(message: dict[str, Any], log: Sequence[LogEntry]) -> int | None:
    """Change `message`, an append_entries, so that the library takes back only what contradicts it.

    Returns:
        The index below which the answer must stay, since nothing is known about the entries that were
        spared; None when the library's own answer is right.
    """
    previous = message["prevLogIdx"]
    first, last = log[0][1], log[-1][1]
    if previous is None or not first <= previous <= last or "transmission" in message:
        return None
    if log[previous - first][2] != message["prevLogTerm"]:
        return None
    entries = message.get("entries", [])
    known = 0
    for _command, index, term in entries:
        if index > last or log[index - first][2] != term:
            break
        known += 1
    match: int = previous + known
    message["entries"] = entries[known:]
    if known < len(entries) or match == last:
        message["prevLogIdx"], message["prevLogTerm"] = match, log[match - first][2]
        return None
    message["prevLogIdx"], message["prevLogTerm"] = last, log[-1][2]
    message["commit_index"] = min(message["commit_index"], match)
    return match + 1

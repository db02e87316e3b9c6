"""What replicas say to each other, and the check that every received message passes before anybody acts.

1. A message is a map of plain values with a `type`; `KINDS` names the fields of each, and their form.
2. A known message with a missing, foreign or malformed field is refused as a whole (`BadMessage`): who sends
   one is no replica of ours. One of an unknown type is of a later version; it is passed over.
3. Numbers are bounded here, so that no index or term can be forged that no log could have reached.

The library's own names stay as they are (`append_entries`, `next_node_idx`, `request_vote`, `response_vote`,
`timeout_now`); what we add to them is named like the rest.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from statemachine.codec import COMMAND_BYTES_MAX

Message = dict[str, Any]

ENTRY_BYTES_MAX = COMMAND_BYTES_MAX + 1024
"""A command and the byte for its kind, or a configuration."""
ENTRIES_MAX = 4_096
PIECE_BYTES_MAX = 1 << 20
NUMBER_MAX = 1 << 53
DIGEST_BYTES = 32


class BadMessage(ValueError):
    """No replica of this version says that; the message names the type and the field."""


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < NUMBER_MAX


def _number_or_none(value: object) -> bool:
    return value is None or _number(value)


def _time(value: object) -> bool:
    return type(value) is float and math.isfinite(value)


def _flag(value: object) -> bool:
    return type(value) is bool


def _entry(value: object) -> bool:
    return type(value) is bytes and 0 < len(value) <= ENTRY_BYTES_MAX


def _command(value: object) -> bool:
    return type(value) is bytes and len(value) < ENTRY_BYTES_MAX


def _piece(value: object) -> bool:
    return type(value) is bytes and len(value) <= PIECE_BYTES_MAX


def _digest(value: object) -> bool:
    return type(value) is bytes and len(value) == DIGEST_BYTES


def _entries(value: object) -> bool:
    return (
        type(value) is list
        and len(value) <= ENTRIES_MAX
        and all(
            type(one) is list and len(one) == 3 and _entry(one[0]) and _number(one[1]) and _number(one[2])
            for one in value
        )
    )


KINDS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    # Replication. `sent_at` is the leader's clock, and comes back with the acknowledgement.
    "append_entries": {
        "term": _number,
        "commit_index": _number,
        "prevLogIdx": _number,
        "prevLogTerm": _number,
        "entries": _entries,
        "sent_at": _time,
    },
    "next_node_idx": {
        "term": _number,
        "next_node_idx": _number,
        "reset": _flag,
        "success": _flag,
        "sent_at": _time,
    },
    # A leader's sign of life to a member whose log it does not know, or that is receiving a snapshot.
    "heartbeat": {"term": _number, "sent_at": _time},
    "heartbeat_answer": {"term": _number, "sent_at": _time},
    # A snapshot, piece by piece; the next piece follows the answer to the one before it.
    "snapshot_piece": {
        "term": _number,
        "transfer": _number,
        "offset": _number,
        "data": _piece,
        "last": _flag,
        "sent_at": _time,
    },
    "snapshot_taken": {
        "term": _number,
        "transfer": _number,
        "offset": _number,
        "refused": _flag,
        "sent_at": _time,
    },
    # Elections.
    "request_vote": {"term": _number, "last_log_index": _number, "last_log_term": _number, "transfer": _flag},
    "response_vote": {"term": _number},
    "timeout_now": {"term": _number},
    "pre_vote": {"term": _number, "round": _number, "last_log_index": _number, "last_log_term": _number},
    "pre_vote_answer": {"term": _number, "round": _number, "granted": _flag},
    "later_term": {"term": _number},
    # Whom a member should let in, told to one that has missed a change; it counts for nothing else.
    "members": {"index": _number, "configuration": _entry},
    # Of a follower that can fence, to its leader: a number that it drew when it started, the entry that holds
    # its configuration, and whether its fencing command has passed its last test; and the leader's answer.
    "following": {"term": _number, "number": _number, "index": _number, "ready": _flag},
    "followed": {"term": _number, "number": _number, "index": _number},
    # Clients of a follower.
    "propose": {"request": _number, "entry": _command},
    "propose_answer": {"request": _number, "taken": _flag},
    "read_index": {"request": _number},
    "read_index_answer": {"request": _number, "index": _number_or_none},
    "confirm": {"term": _number, "round": _number},
    "confirmed": {"term": _number, "round": _number},
    # Agreement about the state at an index.
    "digest": {"index": _number, "digest": _digest},
    "snapshot_wanted": {"term": _number},
}


def check(message: object) -> Message | None:
    """Return `message` if it can be one of ours, None if its type is unknown.

    Raises:
        BadMessage: It is malformed.
    """
    if type(message) is not dict or type(message.get("type")) is not str:
        raise BadMessage("what was received is not a message")
    fields = KINDS.get(message["type"])
    if fields is None:
        return None
    if len(message) != len(fields) + 1:
        raise BadMessage(f"{message['type']}: fields are missing, or there are more than known")
    for name, holds in fields.items():
        if name not in message or not holds(message[name]):
            raise BadMessage(f"{message['type']}: {name} is missing or malformed")
    return message

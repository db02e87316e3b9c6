"""How a leader brings its log to the others: pipelined, bounded, and at the pace of each follower.

1. At most `WINDOW_BYTES` of entries are on their way to one follower, so that one that is slow or far behind
   costs neither memory nor the others' heartbeats.
2. After a refusal, and after a new link, one message at a time is sent until one was taken; what was already
   on its way is not believed (its answers are older than the refusal).
3. Whoever needs entries that the log has lost gets the snapshot, piece by piece (see `snapshots`).
4. A sign of life goes to every member at least each heartbeat. News of a commit goes at once to who waits
   for it, and to others with the next entries, or after `NEWS_S`: it costs a message and its answer.
"""

from collections import deque
from dataclasses import dataclass, field

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import ENTRIES_MAX, Message
from hamgr.raft.protocol.raft import Raft
from hamgr.raft.protocol.snapshots import SnapshotSource, Transfer

BATCH_BYTES = 256 * 1024
"""One message's entries, roughly; a single larger entry goes alone."""
WINDOW_BYTES = 4 * 1024 * 1024
NEWS_S = 0.01
"""How old a follower's knowledge of what is committed may grow while nobody waits for it there."""
TOGETHER = 0.8
"""Who is due after the remaining part of a heartbeat gets one now: one turn serves all followers."""
STUCK_S = 1.0
"""What was sent and has brought no answer for so long is sent again, behind a message of its own."""


@dataclass(slots=True)
class Progress:
    """What a leader knows of one follower.

    Attributes:
        next: The index that is sent next.
        match: The follower has everything up to here, durably.
        probing: One message at a time, until one is taken.
        on_its_way: Last index and bytes of each message of entries without an answer.
        expects: Somebody waits there for the commit of this index.
        heard_of: The latest of our own moments that the follower is known to have heard us at.
    """

    next: int
    match: int = 0
    probing: bool = True
    on_its_way: deque[tuple[int, int]] = field(default_factory=deque)
    bytes_on_their_way: int = 0
    sent_at: float = float("-inf")
    refused_at: float = float("-inf")
    progressed_at: float = 0.0
    heard_of: float = float("-inf")
    round_trip_s: float | None = None
    told_commit: int = -1
    expects: int = 0
    wants_snapshot: bool = False
    transfer: Transfer | None = None

    def forget_what_is_under_way(self) -> None:
        self.on_its_way.clear()
        self.bytes_on_their_way = 0

    def give_up_transfer(self) -> None:
        if self.transfer is not None:
            self.transfer.close()
            self.transfer = None


class Replicator:
    """A leader's side; on a follower it rests."""

    def __init__(self, raft: Raft, heartbeat_s: float, source: SnapshotSource) -> None:
        self._raft = raft
        self._heartbeat_s = heartbeat_s
        self._source = source
        self._transfers = 0
        self._said: tuple[tuple[float, ...], Message] = ((), {})
        self.followers: dict[ReplicaId, Progress] = {}

    def begin(self) -> None:
        """Start anew: this replica has just been elected, and knows of nobody's log."""
        self.end()
        self.adopt()

    def end(self) -> None:
        """Rest: this replica leads no more."""
        for progress in self.followers.values():
            progress.give_up_transfer()
        self.followers = {}

    def adopt(self) -> None:
        """Send to the members of the present configuration, and to nobody else."""
        others = self._raft.configuration.ids - {self._raft.me}
        for gone in self.followers.keys() - others:
            self.followers.pop(gone).give_up_transfer()
        for new in others - self.followers.keys():
            now = self._raft.now()
            self.followers[new] = Progress(
                next=self._raft.log.last + 1, heard_of=float("-inf"), progressed_at=now
            )

    def linked(self, peer: ReplicaId) -> None:
        """Begin again behind what `peer` surely has: what was under way on an old link is lost."""
        progress = self.followers.get(peer)
        if progress is None:
            return
        progress.forget_what_is_under_way()
        progress.give_up_transfer()
        progress.probing, progress.sent_at = True, float("-inf")
        if progress.match:
            progress.next = progress.match + 1

    def pump(self) -> None:
        """Send everybody what is due."""
        now = self._raft.now()
        for peer, progress in self.followers.items():
            if self._raft.is_up(peer):
                self._pump_one(peer, progress, now)

    def next_heartbeat_at(self) -> float:
        """Return when `pump` is due at the latest."""
        due = [
            progress.sent_at + (NEWS_S if self._has_news(progress) else self._heartbeat_s)
            for peer, progress in self.followers.items()
            if self._raft.is_up(peer)
        ]
        return min(due, default=float("inf"))

    def expects(self, peer: ReplicaId, index: int) -> None:
        """Tell `peer` at once when `index` is committed: somebody waits for it there."""
        progress = self.followers.get(peer)
        if progress is not None:
            progress.expects = max(progress.expects, index)

    def answered(self, peer: ReplicaId, message: Message) -> None:
        """Take a follower's answer to entries; it is of this term, and of a member."""
        progress = self.followers[peer]
        self.contact(peer, message["sent_at"])
        if message["success"]:
            self._taken(progress, message["next_node_idx"] - 1)
        elif message["reset"] and message["sent_at"] >= progress.refused_at and progress.transfer is None:
            progress.refused_at = self._raft.now()
            progress.forget_what_is_under_way()
            progress.probing = True
            progress.next = max(2, min(message["next_node_idx"], self._raft.log.last + 1))
            progress.sent_at = float("-inf")

    def contact(self, peer: ReplicaId, sent_at: float) -> None:
        """Note that `peer` heard what we sent at `sent_at`, and still follows."""
        progress = self.followers[peer]
        if progress.heard_of < sent_at <= self._raft.now():
            progress.heard_of = sent_at
            progress.round_trip_s = self._raft.now() - sent_at

    def quorum_heard_of(self) -> float:
        """Return the latest of our own moments at which a majority is known to have followed us."""
        raft = self._raft
        heard = sorted(
            (
                self.followers[voter].heard_of if voter in self.followers else raft.now()
                for voter in raft.configuration.voter_ids
            ),
            reverse=True,
        )
        return heard[raft.configuration.quorum - 1] if heard else float("-inf")

    def piece_taken(self, peer: ReplicaId, message: Message) -> None:
        """Take a follower's answer to a piece of a snapshot."""
        self.contact(peer, message["sent_at"])
        progress = self.followers[peer]
        transfer = progress.transfer
        if transfer is None or message["transfer"] != transfer.number:
            return
        progress.progressed_at = self._raft.now()
        if message["refused"] or transfer.taken(message["offset"]):
            if not message["refused"]:
                self._raft.counters["snapshots_sent"] += 1
            progress.give_up_transfer()
            progress.wants_snapshot = False
            progress.next = max(progress.match + 1, self._raft.log.first + 1)
            progress.probing, progress.sent_at = True, float("-inf")
            progress.refused_at = self._raft.now()

    def _taken(self, progress: Progress, index: int) -> None:
        progress.progressed_at = self._raft.now()
        progress.probing = False
        progress.match = max(progress.match, index)
        progress.next = max(progress.next, index + 1)
        while progress.on_its_way and progress.on_its_way[0][0] <= index:
            progress.bytes_on_their_way -= progress.on_its_way.popleft()[1]

    def _pump_one(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        log = self._raft.log
        needs_snapshot = progress.next <= log.first
        if needs_snapshot or (progress.wants_snapshot and self._opened(progress) is not None):
            self._pump_snapshot(peer, progress, now)
            return
        progress.give_up_transfer()
        if progress.on_its_way and now - max(progress.progressed_at, progress.sent_at) > STUCK_S:
            progress.forget_what_is_under_way()
            progress.probing, progress.next = True, max(progress.match + 1, log.first + 1)
        sent = False
        while progress.next <= log.last and self._has_room(progress):
            self._send_entries(peer, progress, now)
            sent = True
        if not sent and self._is_due(progress, now):
            self._send_append(peer, progress, [], now)

    def _is_due(self, progress: Progress, now: float) -> bool:
        silence_s = now - progress.sent_at
        if self._has_news(progress) and (progress.told_commit < progress.expects or silence_s >= NEWS_S):
            return True
        return silence_s >= self._heartbeat_s * TOGETHER

    def _has_news(self, progress: Progress) -> bool:
        return progress.told_commit != self._raft.commit and not progress.probing

    def _has_room(self, progress: Progress) -> bool:
        if progress.probing:
            return not progress.on_its_way
        return progress.bytes_on_their_way < WINDOW_BYTES

    def _send_entries(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        entries = self._raft.log.entries_from(progress.next, BATCH_BYTES, ENTRIES_MAX)
        size = sum(len(command) for command, _index, _term in entries)
        if not progress.on_its_way:
            progress.progressed_at = now
        self._send_append(peer, progress, entries, now)
        progress.next = entries[-1][1] + 1
        progress.on_its_way.append((entries[-1][1], size))
        progress.bytes_on_their_way += size

    def _send_append(
        self, peer: ReplicaId, progress: Progress, entries: list[tuple[bytes, int, int]], now: float
    ) -> None:
        progress.sent_at = now
        progress.told_commit = self._raft.commit
        self._raft.send(peer, self._append_of(progress.next - 1, entries, now))

    def _append_of(self, previous: int, entries: list[tuple[bytes, int, int]], now: float) -> Message:
        """Return the message; one object for all followers that are to get the same: it is encoded once."""
        raft = self._raft
        content = (raft.term, raft.commit, previous, len(entries), now)
        if self._said[0] != content:
            message = {
                "type": "append_entries",
                "term": raft.term,
                "commit_index": raft.commit,
                "prevLogIdx": previous,
                "prevLogTerm": raft.log.term_at(previous),
                "entries": entries,
                "sent_at": now,
            }
            self._said = content, message
        return self._said[1]

    def _pump_snapshot(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        transfer = self._opened(progress)
        if transfer is not None and (transfer.due or now - progress.progressed_at > STUCK_S):
            progress.progressed_at = progress.sent_at = now
            self._raft.send(peer, transfer.piece(self._raft.term, now))
        elif now - progress.sent_at >= self._heartbeat_s:
            progress.sent_at = now
            self._raft.send(peer, {"type": "heartbeat", "term": self._raft.term, "sent_at": now})

    def _opened(self, progress: Progress) -> Transfer | None:
        """Return the transfer that is under way or can be begun now; None as long as there is no snapshot."""
        if progress.transfer is None:
            outgoing = self._source()
            if outgoing is not None:
                self._transfers += 1
                progress.transfer = Transfer(self._transfers, outgoing)
                progress.forget_what_is_under_way()
        return progress.transfer

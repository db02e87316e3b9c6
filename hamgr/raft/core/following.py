"""A follower's side of the log: entries and snapshots that a leader sends, and what is answered to them.

1. An entry that is here already is not taken back because it is sent again, and the answer never names more
   than what the message has shown to be common.
2. A refusal names the entry after the last committed one: up to there all logs are alike.
3. While a snapshot comes, and until it is whole and on the disk, neither the log nor the commit index moves.
4. A received snapshot keeps the entries after it when the log agrees with it, and replaces it otherwise.
"""

from hamgr.raft.core.collaborators import Machine
from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import Configurations
from hamgr.raft.protocol.membership import Configuration, ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.protocol.overlap import spare_known_entries
from hamgr.raft.protocol.raft import LogEntry
from hamgr.raft.protocol.snapshots import Incoming, Reception, Refused
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.journal import LogBroken
from hamgr.raft.store.snapshot import Snapshot, SnapshotDamaged
from hamgr.raft.store.transfer import IncomingSnapshot

ASK_AGAIN_S = 1.0
"""How long a leader has time to begin a snapshot that was asked for; one it has may be too old."""


class Following:
    """What one replica does with what its leader sends."""

    def __init__(self, core: Whole, folder: Folder, machine: Machine) -> None:
        self._core = core
        self._folder = folder
        self._machine = machine
        self._reception = Reception(self, SnapshotDamaged)
        self._incoming: IncomingSnapshot | None = None
        self._wants_snapshot = False
        self._asked_at = float("-inf")
        self._sent_at = 0.0
        self._known_below: int | None = None

    def start(self, initial: Configuration) -> Configurations:
        """Restore what is stored; return the configurations that it holds."""
        if not self._folder.snapshot_path.exists():
            configurations = Configurations(initial, 0)
        else:
            snapshot = self._folder.load()
            base = _decode(snapshot.configuration) if snapshot.configuration else initial
            configurations = Configurations(base, snapshot.last[1])
            self._put_in_place(snapshot)
        _append_to(configurations, self._core.log[:])
        return configurations

    def follow(self, sender: ReplicaId, message: Message) -> None:
        """Take entries from the leader of this term."""
        core, entries = self._core, message["entries"]
        self._sent_at = message["sent_at"]
        self._known_below = spare_known_entries(message, core.log)
        try:
            core.library.feed(sender, message)
        finally:
            self._known_below = None
        taken_back = core.configurations.taken_back(core.log)
        held = [entry for entry in entries if core.log.term_at(entry[1]) == entry[2]]
        if _append_to(core.configurations, held) or taken_back:
            core.adopt_configuration()
        now = core.now()
        if self._wants_snapshot and core.leader == sender and now - self._asked_at >= ASK_AGAIN_S:
            self._asked_at = now
            core.send(sender, {"type": "snapshot_wanted", "term": core.term})

    def complete(self, message: Message) -> None:
        """Make the library's acknowledgement say what is true, and in which term."""
        core = self._core
        message["term"] = core.term
        message["sent_at"] = self._sent_at
        if message["reset"]:
            message["next_node_idx"] = min(message["next_node_idx"], core.commit + 1)
        elif self._known_below is not None:
            message["next_node_idx"] = min(message["next_node_idx"], self._known_below)

    def take_piece(self, sender: ReplicaId, message: Message) -> None:
        """Take a piece of the leader's snapshot."""
        core = self._core
        refused = False
        try:
            offset = self._reception.take(sender, message)
        except Refused:
            core.counters["snapshots_refused"] += 1
            offset, refused = 0, True
        core.send(
            sender,
            {
                "type": "snapshot_taken",
                "term": core.term,
                "transfer": message["transfer"],
                "offset": offset,
                "refused": refused,
                "sent_at": message["sent_at"],
            },
        )

    def want_snapshot(self) -> None:
        """Take the next snapshot even if it holds no more than what is applied; ask for one."""
        self._wants_snapshot = True

    def close(self) -> None:
        self._reception.abandon()

    # The receiver of snapshots.

    def begin(self) -> Incoming:
        self._incoming = self._folder.receiving()
        return self._incoming

    def install(self, snapshot: Snapshot) -> None:
        core, incoming = self._core, self._incoming
        index = snapshot.last[1]
        if incoming is None:
            raise Refused("nothing was being received")
        if index <= core.applied and not (self._wants_snapshot and index > core.log.first):
            raise Refused(f"it ends at entry {index}, and {core.applied} are applied already")
        if snapshot.configuration:
            configuration = _decode(snapshot.configuration)
        else:  # the file is of format 1: the leader goes by what its log or its settings say, like us
            configuration = core.configurations.at(core.commit)
        self._folder.put_in_force(incoming.path)
        self._put_in_place(snapshot)
        core.configurations = Configurations(configuration, index)
        _append_to(core.configurations, core.log[:])
        core.counters["snapshots_received"] += 1
        self._wants_snapshot = False
        core.adopt_configuration()

    def _put_in_place(self, snapshot: Snapshot) -> None:
        """Have log and state begin with a snapshot that is in force."""
        log, (command, index, term) = self._core.log, snapshot.last
        if log.term_at(index) != term or log.first == index:
            log.clear()
            log.add(*snapshot.before_last)
            log.add(command, index, term)
        self._core.library.installed(index)
        self._machine.restore(snapshot.state, index)


def _append_to(configurations: Configurations, entries: list[LogEntry]) -> bool:
    try:
        return configurations.appended(entries)
    except membership.BadConfiguration as error:
        raise _unreadable("the log", error) from error


def _decode(data: bytes) -> Configuration:
    try:
        return membership.decode(data)
    except membership.BadConfiguration as error:
        raise _unreadable("a snapshot", error) from error


def _unreadable(holder: str, error: membership.BadConfiguration) -> LogBroken:
    """Return what stops the replica: who votes is not known any more."""
    return LogBroken(
        f"{holder} holds a configuration that this version of hamgr cannot read ({error}); upgrade it"
    )

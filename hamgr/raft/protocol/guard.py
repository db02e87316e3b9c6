"""What becomes of a message from another replica: checked, put right where the library errs, and handed on.

1. Only members are heard; only voters are counted, and each once. A message of an older term changes nothing.
2. An acknowledgement counts in the term in which it was given, and only for entries that we have.
3. A later term is adopted from whoever knows it, and from nobody's mere wish to lead (see `election`).
4. A follower forgets an entry only when the leader sends another one in its place (see `overlap`), and a
   refusal names the end of what is surely common, so that a long wrong tail costs one round trip.
"""

from collections.abc import Callable
from typing import Protocol

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.election import Election
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import BadMessage, Message
from hamgr.raft.protocol.raft import Raft
from hamgr.raft.protocol.reads import ReadRounds
from hamgr.raft.protocol.replication import Replicator


class Core(Raft, Protocol):
    """The replica behind the guard."""

    @property
    def library(self) -> "Library": ...
    @property
    def pair(self) -> "Pair": ...
    @property
    def peers(self) -> "Peers": ...


class Library(Protocol):
    def feed(self, sender: ReplicaId, message: Message) -> None:
        """Have the library act on a message."""

    def heard_from(self, peer: ReplicaId) -> None:
        """Have the library know that `peer` still follows."""


class Pair(Protocol):
    """What two voters that can fence each other tell each other."""

    def take_following(self, sender: ReplicaId, message: Message) -> None: ...
    def take_followed(self, sender: ReplicaId, message: Message) -> None: ...


class Peers(Protocol):
    """The links to the others."""

    def introduce(self, peer: ReplicaId) -> None:
        """Tell `peer` whom to let in."""

    def make_acquainted(self, configuration: membership.Configuration, index: int) -> None:
        """Let in whom a later configuration names."""


class Following(Protocol):
    """What is done with a leader's log."""

    def follow(self, sender: ReplicaId, message: Message) -> None: ...
    def take_piece(self, sender: ReplicaId, message: Message) -> None: ...


class Clients(Protocol):
    """What is done with the questions of other replicas, and their answers to ours."""

    def take_proposal(self, sender: ReplicaId, message: Message) -> None: ...
    def take_proposal_answer(self, message: Message) -> None: ...
    def take_read_request(self, sender: ReplicaId, message: Message) -> None: ...
    def take_read_answer(self, message: Message) -> None: ...


class Guard:
    """Stands between the links and the library."""

    def __init__(
        self,
        core: Core,
        *,
        election: Election,
        replicator: Replicator,
        reads: ReadRounds,
        following: Following,
        clients: Clients,
        take_digest: Callable[[ReplicaId, int, bytes], None],
    ) -> None:
        self._core = core
        self._election = election
        self._replicator = replicator
        self._reads = reads
        self._following = following
        self._votes: tuple[int, set[ReplicaId]] = (-1, set())
        self._handlers = {
            "append_entries": self._append_entries,
            "heartbeat": self._heartbeat,
            "snapshot_piece": self._snapshot_piece,
            "next_node_idx": self._next_node_idx,
            "heartbeat_answer": self._heartbeat_answer,
            "snapshot_taken": self._snapshot_taken,
            "request_vote": self._request_vote,
            "response_vote": self._response_vote,
            "timeout_now": self._timeout_now,
            "pre_vote": self._pre_vote,
            "pre_vote_answer": self._pre_vote_answer,
            "later_term": self._later_term,
            "members": self._members,
            "propose": clients.take_proposal,
            "propose_answer": lambda _sender, message: clients.take_proposal_answer(message),
            "read_index": clients.take_read_request,
            "read_index_answer": lambda _sender, message: clients.take_read_answer(message),
            "confirm": self._confirm,
            "confirmed": self._confirmed,
            "digest": lambda sender, message: take_digest(sender, message["index"], message["digest"]),
            "snapshot_wanted": self._snapshot_wanted,
            "following": self._is_following,
            "followed": core.pair.take_followed,
        }

    def receive(self, sender: ReplicaId, message: Message) -> None:
        """Act on a message that has passed `messages.check`.

        Raises:
            BadMessage: It contradicts itself or what was said before; its sender is broken.
        """
        self._handlers[message["type"]](sender, message)

    # From a leader.

    def _is_from_leader(self, sender: ReplicaId, message: Message) -> bool:
        """Say whether to follow the sender; one of an older term is told so."""
        core = self._core
        if message["term"] < core.term:
            core.counters["stale_leaders"] += 1
            core.send(sender, {"type": "later_term", "term": core.term})
            return False
        if core.leads and message["term"] == core.term:
            raise BadMessage(f"{sender} claims to lead in term {core.term}, which we lead")
        self._election.heard(core.now())
        return True

    def _append_entries(self, sender: ReplicaId, message: Message) -> None:
        previous, term = message["prevLogIdx"], message["prevLogTerm"]
        for place, (_command, index, entry_term) in enumerate(message["entries"], start=previous + 1):
            if index != place or not term <= entry_term <= message["term"]:
                raise BadMessage(f"append_entries: entry {index} of term {entry_term} is out of place")
            term = entry_term
        if self._is_from_leader(sender, message):
            self._following.follow(sender, message)

    def _heartbeat(self, sender: ReplicaId, message: Message) -> None:
        if self._is_from_leader(sender, message):
            self._keep_following(sender, message)
            answer = {"type": "heartbeat_answer", "term": message["term"], "sent_at": message["sent_at"]}
            self._core.send(sender, answer)

    def _snapshot_piece(self, sender: ReplicaId, message: Message) -> None:
        if self._is_from_leader(sender, message):
            self._keep_following(sender, message)
            self._following.take_piece(sender, message)

    def _keep_following(self, sender: ReplicaId, message: Message) -> None:
        """Have the library note term and leader, and nothing about the log."""
        self._core.library.feed(
            sender, {"type": "append_entries", "term": message["term"], "commit_index": 0}
        )

    def _timeout_now(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        if message["term"] == core.term and core.leader == sender and core.me in core.configuration.voter_ids:
            self._election.allow(core.term, core.now(), transfer=True)
            core.counters["transfers_received"] += 1

    def _confirm(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        if message["term"] > core.term:
            self._adopt(sender, message["term"])
        if message["term"] == core.term and not core.leads:
            self._election.heard(core.now())
            core.send(sender, {"type": "confirmed", "term": message["term"], "round": message["round"]})

    # From a follower.

    def _is_for_leader(self, sender: ReplicaId, message: Message) -> bool:
        """Say whether the sender answers us as the leader of this term."""
        core = self._core
        if message["term"] > core.term:
            self._adopt(sender, message["term"])
            return False
        if message["term"] < core.term or not core.leads:
            core.counters["stale_acknowledgements"] += 1
            return False
        if sender not in self._replicator.followers:
            core.counters["foreign_messages"] += 1
            return False
        core.library.heard_from(sender)
        return True

    def _next_node_idx(self, sender: ReplicaId, message: Message) -> None:
        if not self._is_for_leader(sender, message):
            return
        if message["success"] and message["next_node_idx"] - 1 > self._core.log.last:
            raise BadMessage(
                f"{sender} acknowledges entry {message['next_node_idx'] - 1}, which we do not have"
            )
        self._core.library.feed(sender, message)
        self._replicator.answered(sender, message)

    def _heartbeat_answer(self, sender: ReplicaId, message: Message) -> None:
        if self._is_for_leader(sender, message):
            self._replicator.contact(sender, message["sent_at"])

    def _snapshot_taken(self, sender: ReplicaId, message: Message) -> None:
        if self._is_for_leader(sender, message):
            self._replicator.piece_taken(sender, message)

    def _confirmed(self, sender: ReplicaId, message: Message) -> None:
        if self._is_for_leader(sender, message):
            self._reads.confirmed(sender, message["term"], message["round"])

    def _snapshot_wanted(self, sender: ReplicaId, message: Message) -> None:
        if self._is_for_leader(sender, message):
            self._replicator.followers[sender].wants_snapshot = True

    def _is_following(self, sender: ReplicaId, message: Message) -> None:
        if self._is_for_leader(sender, message):
            self._core.pair.take_following(sender, message)

    # Elections.

    def _request_vote(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        if message["term"] < core.term:
            core.send(sender, {"type": "later_term", "term": core.term})
        elif not message["transfer"] and self._leader_is_alive():
            core.counters["votes_kept_for_leader"] += 1
        else:
            self._election.deferred(core.now())
            core.library.feed(sender, message)

    def _response_vote(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        if sender not in core.configuration.voter_ids:
            core.counters["foreign_messages"] += 1
            return
        if message["term"] != core.term:
            return
        if self._votes[0] != message["term"]:
            self._votes = (message["term"], set())
        if sender in self._votes[1]:
            core.counters["duplicate_votes"] += 1
            return
        self._votes[1].add(sender)
        core.library.feed(sender, message)

    def _pre_vote(self, sender: ReplicaId, message: Message) -> None:
        core, log = self._core, self._core.log
        alive = self._leader_is_alive()
        theirs, ours = (message["last_log_term"], message["last_log_index"]), (log.last_term, log.last)
        granted = not alive and message["term"] > core.term and theirs >= ours
        if granted:
            self._election.made_way(core.now())
        core.send(
            sender,
            {
                "type": "pre_vote_answer",
                "term": core.term,
                "round": message["round"],
                "granted": granted,
            },
        )
        if alive:  # whom it may not let in, if it has missed a change of the members
            core.peers.introduce(sender)

    def _pre_vote_answer(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        if message["term"] > core.term:
            self._adopt(sender, message["term"])
        elif message["granted"] and sender in core.configuration.voter_ids:
            votes = self._election.granted(sender, message["round"], core.term)
            if votes >= core.configuration.quorum:
                self._election.allow(core.term, core.now())

    def _later_term(self, sender: ReplicaId, message: Message) -> None:
        if message["term"] > self._core.term:
            self._adopt(sender, message["term"])

    def _members(self, _sender: ReplicaId, message: Message) -> None:
        try:
            configuration = membership.decode(message["configuration"])
        except membership.BadConfiguration as error:
            raise BadMessage(f"members: {error}") from error
        self._core.peers.make_acquainted(configuration, message["index"])

    def _leader_is_alive(self) -> bool:
        """Say whether a leader is at work, as far as we can know; a leader knows by its majority."""
        core = self._core
        if core.leads:
            return self._election.is_recent(self._replicator.quorum_heard_of(), core.now())
        return self._election.leader_is_alive(core.now())

    def _adopt(self, sender: ReplicaId, term: int) -> None:
        """Move on to a later term: by a request for a vote that nobody could ever win."""
        request = {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1}
        self._core.library.feed(sender, request)
        self._core.counters["terms_adopted"] += 1

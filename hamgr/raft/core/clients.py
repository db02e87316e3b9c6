"""What a replica does for those who ask it: commands, linearizable reads, changes of the configuration.

1. On a follower a question goes to the leader. When the leader changes, nothing is known about what the old
   one was given: a command's answer never comes (send it again, with the same request id), a read's is None.
2. One change of the configuration at a time, and none before the leader has committed in its own term: else
   two majorities might not overlap (Ongaro's correction of 2015 to single-server changes).
"""

from collections.abc import Callable

from hamgr.raft.core.library import REGULAR
from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.membership import ChangeRefused, Configuration, ReplicaId
from hamgr.raft.protocol.messages import ENTRY_BYTES_MAX, Message
from hamgr.raft.protocol.outbox import Outbox
from hamgr.raft.protocol.raft import LogEntry
from hamgr.raft.protocol.reads import READS_MAX, ROUND_S_MAX, ReadRounds

UNCOMMITTED_MAX = 10_000
"""Entries that a leader takes without a majority; more would only wait, in memory."""
FORWARDED_MAX = 10_000
READ_S_MAX = 2 * ROUND_S_MAX
PROPOSAL_S_MAX = 5.0
"""The answer to a forwarded command is not waited for any longer; it may have been lost with a link."""


class Clients:
    """The questions that are open on one replica."""

    def __init__(self, core: Whole, rounds: ReadRounds, outbox: Outbox, first_number: int) -> None:
        """Number the questions from `first_number` on.

        It should be random: an answer to what this replica asked before a restart must not be taken for
        the answer to what it asks now.
        """
        self._core = core
        self._rounds = rounds
        self._outbox = outbox
        self._number = first_number
        self._proposals: dict[int, tuple[float, Callable[[bool], None]]] = {}
        self._reads: dict[int, tuple[float, Callable[[int | None], None]]] = {}
        self._change: tuple[int, int, Callable[[str], None]] | None = None

    @property
    def forwarded(self) -> int:
        """How many commands the leader was given and has not answered."""
        return len(self._proposals)

    @property
    def reads(self) -> int:
        """How many reads wait for the leader's answer."""
        return len(self._reads)

    def submit(self, entry: bytes, answer: Callable[[bool], None]) -> None:
        """Hand a command to whoever leads.

        Args:
            answer: Gets False when the command is certainly in no log, True when a leader has it in its own
                (which is not yet committed). It may be called at once, later, or never.
        """
        core = self._core
        if core.leads:
            answer(self._append(entry))
            return
        leader = core.leader
        if leader is None or not core.is_up(leader) or len(self._proposals) >= FORWARDED_MAX:
            answer(False)
            return
        self._number += 1
        self._proposals[self._number] = core.now(), answer
        self._outbox.put(leader, {"type": "propose", "request": self._number, "entry": entry})

    def read_index(self, answer: Callable[[int | None], None]) -> None:
        """Find the index that a linearizable read has to wait for; None when no leader confirmed one."""
        core = self._core
        if core.leads:
            self._rounds.ask(answer)
            return
        leader = core.leader
        if leader is None or not core.is_up(leader) or len(self._reads) >= READS_MAX:
            answer(None)
            return
        self._number += 1
        self._reads[self._number] = (core.now(), answer)
        self._outbox.put(leader, {"type": "read_index", "request": self._number})

    def change(self, after: Configuration, answer: Callable[[str], None], *, fenced: bool = False) -> None:
        """Bring a new configuration about; only a leader can.

        Args:
            fenced: The voter that goes is verified to be off.
            answer: Gets an empty text when it is committed, else a sentence that says why not.
        """
        core = self._core
        refusal = self._refusal(after, fenced)
        if refusal:
            answer(refusal)
            return
        command = KIND + membership.encode(after)
        index = core.library.append(command)
        core.configurations.appended([(command, index, core.term)])
        self._change = (index, core.term, answer)
        core.counters["configuration_changes"] += 1
        core.adopt_configuration()

    def applied_change(self, entry: LogEntry) -> None:
        """Note that a configuration was committed."""
        if self._change is not None and self._change[:2] == entry[1:]:
            (_index, _term, answer), self._change = self._change, None
            answer("")

    def leader_changed(self) -> None:
        """End what an old leader was asked."""
        self._proposals.clear()
        reads, self._reads = self._reads, {}
        for _since, answer_read in reads.values():
            answer_read(None)
        if self._change is not None and not self._core.leads:
            (_index, _term, answer), self._change = self._change, None
            answer(
                "the leader changed, so that the outcome is not known; look at the members, then try again"
            )

    def advance(self) -> None:
        """End what has waited too long."""
        self._rounds.advance()
        limit = self._core.now() - READ_S_MAX
        while self._reads:
            number, (since, answer) = next(iter(self._reads.items()))
            if since > limit:
                break
            del self._reads[number]
            answer(None)
        limit = self._core.now() - PROPOSAL_S_MAX
        while self._proposals:
            number, (since, _answer) = next(iter(self._proposals.items()))
            if since > limit:
                break
            del self._proposals[number]

    # Messages.

    def take_proposal(self, sender: ReplicaId, message: Message) -> None:
        core = self._core
        taken = core.leads and self._append(message["entry"])
        if taken:
            core.replicator.expects(sender, core.log.last)
        answer = {"type": "propose_answer", "request": message["request"], "taken": taken}
        self._outbox.put(sender, answer)

    def take_proposal_answer(self, message: Message) -> None:
        found = self._proposals.pop(message["request"], None)
        if found is not None:
            found[1](message["taken"])

    def take_read_request(self, sender: ReplicaId, message: Message) -> None:
        number = message["request"]

        def answer(index: int | None) -> None:
            self._core.replicator.expects(sender, index or 0)
            self._outbox.put(sender, {"type": "read_index_answer", "request": number, "index": index})

        self._rounds.ask(answer)

    def take_read_answer(self, message: Message) -> None:
        found = self._reads.pop(message["request"], None)
        if found is not None:
            found[1](message["index"])

    def _append(self, entry: bytes) -> bool:
        core = self._core
        command = REGULAR + entry
        if core.renounced or core.log.last - core.commit >= UNCOMMITTED_MAX or len(command) > ENTRY_BYTES_MAX:
            return False
        core.library.append(command)
        return True

    def _refusal(self, after: Configuration, fenced: bool) -> str:
        core = self._core
        if not core.leads:
            return "this replica does not lead; ask the leader"
        if core.log.term_at(core.commit) != core.term:
            return "the leader was elected a moment ago; try again"
        if core.configuration_index > core.commit or self._change is not None:
            return "another change of the members is under way; try again when it is done"
        if core.me not in after.voter_ids:
            return "a leader cannot remove itself; hand leadership over first"
        try:
            membership.check_change(core.configuration, after, fenced=fenced)
        except ChangeRefused as refused:
            return str(refused)
        return ""

"""What must hold at every step, whatever goes wrong. Each law is a sentence; breaking one ends the run.

By evidence: what was applied, answered and read, as a person outside could know it. From inside, and only
while `watching`: the logs, the disks, and what leaves a replica. The latter find a mistake long before it
hurts; the ablations show that the former find it too.

"Figure 3" is that of the Raft paper (Ongaro and Ousterhout, extended version).
"""

import bisect
import hashlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.membership import ChangeRefused, Configuration
from hamgr.raft.store.journal import Journal
from statemachine.model import State
from statemachine.outcomes import Outcome
from tests.consensus.evidence import OnDisk
from tests.consensus.figures import Figures
from tests.consensus.trail import Trail


class Broken(BaseException):
    """A law does not hold; no code of the product may catch it."""

    def __init__(self, law: str, how: str, *who: str) -> None:
        super().__init__(f"{law}: {how}")
        self.law = law
        self.how = how
        self.who = who


class Replica(Protocol):
    """A host whose replica runs."""

    id: str
    name: str
    core: Any
    machine: Any
    reader: Any
    initial: Configuration


class Seen:
    """What was looked at of one replica's present life."""

    def __init__(self) -> None:
        self.last = 0
        self.last_term = 0
        self.commit = 0
        self.led_in = -1
        self.believed: dict[str, int] = {}


class Laws:
    """All of one world, with what they have to remember."""

    def __init__(
        self,
        trail: Trail,
        figures: Figures,
        hosts: Mapping[str, Replica],
        *,
        watching: bool,
        now: Callable[[], float],
    ) -> None:
        self.watching = watching
        self.committed: dict[int, bytes] = {}
        """What stands at each index for ever: SHA-256 of the command and its term."""
        self._committed_in: dict[int, int] = {}
        """And the term in which that was so first."""
        self.acknowledged: dict[bytes, tuple[int, str]] = {}
        """Of each acknowledged request: where it was first applied, and the node that shows it, if any."""
        self.index_known = 0
        """What every read that begins now has to see."""
        self._known: list[tuple[float, int]] = []
        """Since when people knew which index, both rising."""
        self._now = now
        self._trail, self._figures, self._hosts = trail, figures, hosts
        self._applied: dict[int, bytes] = {}
        self._digests: dict[int, bytes] = {}
        self._outcomes: dict[bytes, tuple[int, Outcome]] = {}
        self._leaders: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        self._seen: dict[str, Seen] = {}

    def break_(self, law: str, how: str, *who: str) -> None:
        """Say that `law` is broken.

        Raises:
            Broken: Always.
        """
        raise Broken(law, how, *who)

    # By evidence.

    def started(self, name: str) -> None:
        self._seen[name] = Seen()

    def applied(self, name: str, index: int, entry: bytes, *, after: int) -> None:
        """Judge one applied command."""
        self.passed(name, index, after=after)
        stands = self._applied.setdefault(index, entry)
        if stands != entry:
            how = f"{name} applied {entry[:60]!r} at {index}, where {stands[:60]!r} stands"
            self.break_("all replicas apply the same at an index (State Machine Safety, figure 3)", how, name)

    def passed(self, name: str, index: int, *, after: int) -> None:
        """Judge that `index` comes after `after`."""
        if after and index != after + 1:
            self.break_(
                "nothing is left out and nothing applied twice", f"{name}: {index} after {after}", name
            )

    def restored(self, name: str, index: int, state: State, *, after: int) -> None:
        """Judge a snapshot that was taken over."""
        self._trail.note(name, "restores", index)
        if index < after:
            self.break_("a state never goes back", f"{name} went from {after} to {index}", name)
        if index > after > 0:
            self._figures.count("snapshot installed")
        for at, node in self.acknowledged.values():
            if node and at <= index and node not in state.nodes:
                self.break_("no acknowledged write is lost", f"{name} restored {index} without {node}", name)

    def answered(self, name: str, index: int, entry: bytes, outcome: Outcome, bug: Exception | None) -> None:
        """Judge the outcome of one applied command."""
        if bug is not None:
            self.break_("commands can be applied", f"{name} at {index}: {bug!r}", name)
        first, answer = self._outcomes.setdefault(entry, (index, outcome))
        if answer != outcome:
            how = f"{entry[:60]!r} was answered {answer!r} at {first} and {outcome!r} at {index}"
            self.break_("a request takes effect once and is answered alike", how, name)
        if index > first:
            self._figures.count("request applied again")

    def stopped_by_its_disk(self) -> None:
        self._figures.count("stopped by its disk")

    def met_unknown(self, name: str, index: int) -> None:
        """Note that a replica cannot go on, since its version is too old."""
        self._trail.note(name, "does not know the command at", index)
        self._figures.count("command unknown to one")

    def was_acknowledged(self, entry: bytes, node: str, name: str) -> None:
        """Note that a client has its answer; `node` was added by it, if it is named."""
        index = self._outcomes[entry][0]
        self.acknowledged.setdefault(entry, (index, node))
        self._is_known(index)
        self._trail.note(name, "acknowledges", index)

    def was_read(self, name: str, index: int, state: State, *, known: int) -> None:
        """Judge a linearizable read that began when `known` was known."""
        self._figures.count("read")
        if index < known:
            how = f"{name} answered with index {index}, but {known} was known before the read began"
            self.break_("a read sees what was acknowledged or read before it began", how, name)
        self._is_known(index)

    def _is_known(self, index: int) -> None:
        if index > self.index_known:
            self.index_known = index
            self._known.append((self._now(), index))

    def told_age(self, name: str, index: int, *, since: float) -> None:
        """Judge a replica that shows the state at `index`, as having all from before `since`."""
        self._figures.count("age told")
        before = bisect.bisect_left(self._known, since, key=lambda known: known[0])
        if before and self._known[before - 1][1] > index:
            how = f"{name} is at {index}, though {self._known[before - 1]} was known before {since:.6f}"
            self.break_("a state is no older than its age says", how, name)

    def compared(self, name: str, index: int, digest: bytes) -> None:
        """Judge a state's digest, which replicas take at agreed indexes."""
        self._figures.count("snapshot taken")
        if self._digests.setdefault(index, digest) != digest:
            self.break_("equal logs give equal states", f"{name} differs at {index}", name)

    def ends(self, name: str, state: State) -> None:
        """Judge a replica's last state."""
        for _at, node in self.acknowledged.values():
            if node and node not in state.nodes:
                self.break_("no acknowledged write is lost", f"{name} ends without {node}", name)

    # From inside.

    def looked_at(self, host: Replica) -> None:
        """Judge a replica after each of its turns."""
        core, seen = host.core, self._seen[host.name]
        if core.leads and core.term != seen.led_in:
            seen.led_in = core.term
            self._elected(host)
        if not self.watching:
            return
        journal: Journal = core.log
        if journal.last != seen.last or journal.last_term != seen.last_term:
            self._log_changed(host, journal, seen)
        if core.commit > seen.commit:
            self._commit_moved(host, journal, seen)
        if core.leads:
            self._check_beliefs(host, journal, seen)

    def _elected(self, host: Replica) -> None:
        term = host.core.term
        self._trail.note(host.name, "leads in term", term)
        self._figures.count("leader elected")
        if self._leaders.setdefault(term, host.name) != host.name:
            how = f"{host.name} and {self._leaders[term]} lead in term {term}"
            self.break_(
                "at most one leader in a term (Election Safety, figure 3)",
                how,
                host.name,
                self._leaders[term],
            )
        if self.watching:
            self._check_votes(host, term)
            self._check_completeness(host, term)

    def _check_completeness(self, host: Replica, term: int) -> None:
        """Look for the last entry that was committed in an earlier term; a late winner need not have more."""
        journal: Journal = host.core.log
        index = max((at for at, was_in in self._committed_in.items() if was_in < term), default=0)
        if index < journal.first:
            return
        if index > journal.last or self._digest(journal, index) != self.committed[index]:
            how = f"{host.name} leads in term {term} without entry {index}"
            self.break_("a leader has every committed entry (Leader Completeness, figure 3)", how, host.name)

    def _check_votes(self, host: Replica, term: int) -> None:
        configuration: Configuration = host.core.configuration
        disks = {
            other.name: other.reader.read()
            for other in self._hosts.values()
            if other.id in configuration.voter_ids
        }
        voted = [
            name
            for name, disk in disks.items()
            if disk.term > term or (disk.term, disk.vote) == (term, host.id)
        ]
        if len(voted) < configuration.quorum:
            how = f"{host.name} leads in term {term} by the votes of {voted} among {list(disks)}"
            self.break_("a leader was voted for by a majority (Raft, section 5.2)", how, host.name)

    def _log_changed(self, host: Replica, journal: Journal, seen: Seen) -> None:
        begin = seen.last + 1 if journal.term_at(seen.last) == seen.last_term else journal.first
        seen.last, seen.last_term = journal.last, journal.last_term
        for index in range(max(begin, journal.first + 1), journal.last + 1):
            command, _, term = journal[index - journal.first]
            entry = hashlib.sha256(command).digest(), journal.term_at(index - 1) or 0
            if self._entries.setdefault((index, term), entry) != entry:
                how = f"{host.name} has another entry {index} of term {term}, or another one before it"
                self.break_(
                    "logs that agree on an entry agree on all before it (Log Matching, figure 3)",
                    how,
                    host.name,
                )
        self._check_configurations(host, journal)

    def _check_configurations(self, host: Replica, journal: Journal) -> None:
        found = [(entry[1], membership.decode(entry[0][1:])) for entry in journal[:] if entry[0][:1] == KIND]
        if not found:
            return
        law = "the configuration in force is the latest in the log"
        if host.core.configuration != found[-1][1]:
            self.break_(law, f"{host.name} does not use the one of entry {found[-1][0]}", host.name)
        for (_, before), (index, after) in itertools.pairwise(found):
            try:
                membership.check_change(before, after, fenced=True)
            except ChangeRefused as error:
                law = "configurations differ by one voter at most"
                self.break_(law, f"{host.name}, entry {index}: {error}", host.name)
        open_ = [index for index, _ in found if index > host.core.commit]
        if len(open_) > 1 and host.core.leads:
            law = "one change of the configuration at a time"
            self.break_(law, f"{host.name} has {open_} and committed {host.core.commit}", host.name)

    def _commit_moved(self, host: Replica, journal: Journal, seen: Seen) -> None:
        begin, seen.commit = max(seen.commit + 1, journal.first), host.core.commit
        for index in range(begin, host.core.commit + 1):
            digest = self._digest(journal, index)
            new = index not in self.committed
            if self.committed.setdefault(index, digest) != digest:
                how = f"{host.name} committed another entry {index}"
                self.break_(
                    "what is committed stands for ever (State Machine Safety, figure 3)", how, host.name
                )
            self._committed_in.setdefault(index, host.core.term)
            if new and index == host.core.commit:
                self._check_majority(host, journal, index)

    def _check_majority(self, host: Replica, journal: Journal, index: int) -> None:
        if not host.core.leads:
            return
        configuration: Configuration = host.core.configuration
        having = [
            other.name
            for other in self._hosts.values()
            if other.id in configuration.voter_ids
            and _has(other.reader.read(), index, journal.term_at(index))
        ]
        if len(having) < configuration.quorum:
            how = f"{host.name} committed {index}, which is on the disks of {having} only"
            self.break_("what is committed is on the disks of a majority", how, host.name)

    def _check_beliefs(self, host: Replica, journal: Journal, seen: Seen) -> None:
        """Look at what a leader newly believes its followers to have."""
        for other in self._hosts.values():
            progress = host.core.replicator.followers.get(other.id)
            if progress is not None and seen.believed.get(other.name) != progress.match:
                seen.believed[other.name] = progress.match
                disk: OnDisk = other.reader.read()
                term = journal.term_at(progress.match)
                if term is not None and not _has(disk, progress.match, term):
                    how = f"{host.name} believes that {other.name} has {progress.match} of term {term}"
                    self.break_(
                        "a leader believes of others what is on their disks", how, host.name, other.name
                    )

    def _digest(self, journal: Journal, index: int) -> bytes:
        command, _, term = journal[index - journal.first]
        return hashlib.sha256(b"%d" % term + command).digest()

    # What leaves.

    def leaves(self, host: Replica, to: str, message: Mapping[str, Any]) -> None:
        """Judge a message that a replica sends at this moment by what its disk holds."""
        if message["type"] == "snapshot_piece" and message["offset"]:
            self._figures.count("snapshot sent in pieces")
        if not self.watching:
            return
        match message["type"]:
            case "next_node_idx" if message["success"]:
                disk: OnDisk = host.reader.read()
                kept = disk.last >= message["next_node_idx"] - 1 and disk.term >= message["term"]
            case "request_vote":
                disk = host.reader.read()
                kept = disk.term > message["term"] or (disk.term, disk.vote) == (message["term"], host.id)
            case "response_vote":
                disk = host.reader.read()
                kept = disk.term > message["term"] or (disk.term, disk.vote) == (message["term"], to)
            case _:
                return
        if not kept:
            how = f"{host.name} says {dict(message)}, but its disk has {disk.last=} {disk.term=} {disk.vote=}"
            self.break_("a promise is on the disk before it leaves (figure 2)", how, host.name)


def _has(disk: OnDisk, index: int, term: int | None) -> bool:
    """Say whether an entry is there, or was and is in the snapshot now."""
    return disk.term_at(index) == term or index < disk.first

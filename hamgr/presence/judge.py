"""What is to be asked of whom, and what follows from the answers; no clock, no sockets.

1. Nobody is called unreachable by one replica alone: its probes must have missed the node `misses_first`
   times, and those of another one `misses_second` times, and nobody may have heard it in between.
   Only a replica that has no connected peer at all may conclude alone, from `misses_alone`.
2. A node that a job is at work on (it may reboot it), or whose own replica is connected, is suspect at
   most: the job tells when it gives up, and a machine whose replica talks is not dead.
3. A node that answers one time and not the other is suspect, until it has answered for a while.
4. Who was unreachable is reachable again after `goods` rounds with an answer, more for one that comes and
   goes, and only when it has shown that it is the machine that we know.
5. A loss of many at once is told at once: verdicts wait, `hold_s` at most, for nodes that seem to follow.
6. A vantage that misses what another one hears is not asked about that node for `blind_s`.
7. What was seen of a machine, or at an address, tells nothing of the one that has the node's name next.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hamgr.presence.assignment import ranked
from hamgr.presence.reasons import reason_of
from hamgr.presence.records import RECENT, Record
from statemachine.words import NodeName, Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Every number that a verdict depends on; times in seconds."""

    interval_s: float = 2.5
    recheck_s: float = 1.0
    misses_first: int = 3
    misses_second: int = 2
    misses_alone: int = 4
    others: int = 2
    """How many others are asked about a node that was missed."""
    goods: int = 2
    goods_max: int = 16
    flap_s: float = 600.0
    lost_suspect: int = 4
    """Misses within the last `records.RECENT` rounds that make a node suspect."""
    lost_fine: int = 1
    blind_s: float = 60.0
    denied_s: float = 60.0
    hold_s: float = 5.0
    """After the first miss of a node, its verdict waits no longer for those that seem to follow."""
    many_min: int = 5
    many_share: float = 0.1
    asked_max: int = 300
    """Nodes that one vantage is asked about in one round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A node, as far as its presence goes.

    Attributes:
        presence: What the log says.
        reason: Why, as the log says.
        job: The job that is at work on it; empty when none is.
        cordon: Why it is in maintenance; empty when it is not.
        replica: Name of the replica that runs on it; empty when none does.
        replica_up: That replica is connected.
        place: Which machine it is, and where; any text that changes with either.
    """

    presence: Presence
    reason: str = ""
    job: str = ""
    cordon: str = ""
    replica: str = ""
    replica_up: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A change of a node's presence; `was` is what the log says so far."""

    node: NodeName
    was: Presence
    presence: Presence
    reason: str


class Judge:
    """The judgement of one leader in one term; `now` is any clock that never goes back, in seconds."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._records: dict[NodeName, Record] = {}
        self._subjects: Mapping[NodeName, Subject] = {}
        self._alone = True
        self._storm = False

    def asks(
        self, now: float, subjects: Mapping[NodeName, Subject], vantages: Iterable[str], *, alone: bool
    ) -> dict[str, list[NodeName]]:
        """Return the nodes that each vantage is to probe now, the doubtful ones first.

        Args:
            vantages: The replicas that can be asked, this one included.
            alone: This replica has no connected peer at all.
        """
        self._subjects, self._alone = subjects, alone
        self.moved(subjects)
        places = frozenset(vantages)
        asks: dict[str, list[NodeName]] = {vantage: [] for vantage in sorted(places)}
        due = [
            (name, self._records.setdefault(name, Record(place=one.place))) for name, one in subjects.items()
        ]
        due = [(name, one) for name, one in due if self._storm or one.next_at <= now]
        due.sort(key=lambda pair: (not pair[1].misses, pair[1].next_at))
        for name, record in due:
            chosen = self._chosen(now, name, record, places)
            if any(len(asks[vantage]) >= self._rules.asked_max for vantage in chosen):
                continue
            record.asked_at = now
            for vantage in chosen:
                asks[vantage].append(name)
        self._storm = False
        return {vantage: names for vantage, names in asks.items() if names}

    def moved(self, subjects: Mapping[NodeName, Subject]) -> frozenset[NodeName]:
        """Forget what was seen of nodes that are gone, elsewhere or other machines by now; return them."""
        found = frozenset(
            name
            for name, record in self._records.items()
            if name not in subjects or subjects[name].place != record.place
        )
        for name in found:
            del self._records[name]
        return found

    def _chosen(self, now: float, name: NodeName, record: Record, places: frozenset[str]) -> list[str]:
        order = ranked(name, places)
        seeing = [vantage for vantage in order if record.blind.get(vantage, 0.0) <= now]
        seeing += [vantage for vantage in order if vantage not in seeing]
        doubtful = record.misses and self._subjects[name].presence is not Presence.UNREACHABLE
        if doubtful:
            # who has begun to miss it goes on: a count that moves to another one would begin anew
            counting = sorted(seeing, key=lambda vantage: -record.misses.get(vantage, 0))
            return counting[: 1 + self._rules.others]
        if self._subjects[name].presence is Presence.UNREACHABLE and not record.goods:
            return [seeing[record.asked % len(seeing)]]
        return seeing[:1]

    def take(
        self,
        now: float,
        asked: Mapping[str, list[NodeName]],
        answers: Mapping[str, Mapping[NodeName, str]],
    ) -> None:
        """Take the answers of a round.

        Args:
            asked: What `asks` has returned.
            answers: By vantage, the nodes that it missed and why; a vantage that gave none is not here.
        """
        heard: dict[NodeName, list[str]] = {}
        missed: dict[NodeName, dict[str, str]] = {}
        for vantage, silent in answers.items():
            for name in asked.get(vantage, ()):
                if name in silent:
                    missed.setdefault(name, {})[vantage] = silent[name]
                else:
                    heard.setdefault(name, []).append(vantage)
        fresh = 0
        for name in heard.keys() | missed.keys():
            record = self._records.get(name)
            if record is None:
                continue
            before = record.silent_since
            record.round(now, heard.get(name, []), missed.get(name, {}), blind_s=self._rules.blind_s)
            fresh += before is None and record.silent_since is not None
            record.next_at = record.asked_at + self._pause_s(name, record)
        self._storm = fresh >= self._many()

    def _pause_s(self, name: NodeName, record: Record) -> float:
        rules, presence = self._rules, self._subjects[name].presence
        if presence is Presence.UNREACHABLE:
            soon = 0 < record.goods <= rules.goods_max
        elif presence is Presence.SUSPECT:
            soon = not self._held_back(self._subjects[name])
        else:
            soon = bool(record.misses)
        return rules.recheck_s if soon else rules.interval_s

    def _many(self) -> int:
        return max(self._rules.many_min, int(len(self._subjects) * self._rules.many_share))

    def verdicts(self, now: float) -> list[Verdict]:
        """Return what has changed, all that belongs together in one answer; repeats it until it is known."""
        found = [
            verdict
            for name, subject in self._subjects.items()
            if (record := self._records.get(name)) and (verdict := self._verdict(now, name, subject, record))
        ]
        lost = [verdict for verdict in found if verdict.presence is Presence.UNREACHABLE]
        if not lost or not self._more_follow(now, lost):
            return found
        return [verdict for verdict in found if verdict.presence is not Presence.UNREACHABLE]

    def _more_follow(self, now: float, lost: list[Verdict]) -> bool:
        """Say whether a loss of many is under way and not all of it has come to its verdict."""
        ready = {verdict.node for verdict in lost}
        silent = {
            name
            for name, record in self._records.items()
            if record.silent_since is not None
            and self._subjects[name].presence is not Presence.UNREACHABLE
            and not self._held_back(self._subjects[name])
        }
        if len(silent) < self._many() or silent <= ready:
            return False
        return now < min(self._records[name].silent_since or now for name in ready) + self._rules.hold_s

    def _verdict(self, now: float, name: NodeName, subject: Subject, record: Record) -> Verdict | None:
        if self._silent(record):
            return self._verdict_of_silent(name, subject, record)
        if subject.presence is Presence.REACHABLE:
            if record.rounds >= RECENT and record.lost >= self._rules.lost_suspect and record.goods:
                reason = f"no answer in {record.lost} of its last {record.rounds} rounds of probes"
                return _change(name, subject, Presence.SUSPECT, reason)
            return None
        if record.goods < self._goods(now, record):
            return None
        if subject.presence is Presence.SUSPECT:
            return (
                _change(name, subject, Presence.REACHABLE, "") if record.lost <= self._fine(record) else None
            )
        return _change(name, subject, Presence.REACHABLE, "") if record.confirmed else None

    def _verdict_of_silent(self, name: NodeName, subject: Subject, record: Record) -> Verdict | None:
        others = self._alone or self._two(record)
        reason = reason_of(record, subject, second=others)
        if subject.presence is Presence.UNREACHABLE:
            return None
        if others and not self._held_back(subject):
            return _change(name, subject, Presence.UNREACHABLE, reason)
        return (
            None if subject.presence is Presence.SUSPECT else _change(name, subject, Presence.SUSPECT, reason)
        )

    def _silent(self, record: Record) -> bool:
        """Say whether the misses suffice: of two vantages, or of the only one there is."""
        return self._two(record) or max(record.misses.values(), default=0) >= self._rules.misses_alone

    def _two(self, record: Record) -> bool:
        first, second, *_ = sorted((*record.misses.values(), 0, 0), reverse=True)
        return first >= self._rules.misses_first and second >= self._rules.misses_second

    def _fine(self, record: Record) -> int:
        # a node of whom little is known yet is not held to what nobody has counted
        return self._rules.lost_fine if record.rounds >= RECENT else self._rules.lost_suspect - 1

    @staticmethod
    def _held_back(subject: Subject) -> bool:
        return bool(subject.job) or subject.replica_up

    def _goods(self, now: float, record: Record) -> int:
        """Return how many good rounds in a row a node needs: twice as many each time that it was gone."""
        gone = sum(at > now - self._rules.flap_s for at in record.gone)
        return min(self._rules.goods << max(0, gone - 1), self._rules.goods_max)

    def told(self, now: float, verdicts: Iterable[Verdict]) -> None:
        """Remember what the log has taken."""
        for verdict in verdicts:
            record = self._records.get(verdict.node)
            if record is None or verdict.presence is verdict.was:
                continue
            if verdict.presence is Presence.UNREACHABLE:
                record.gone.append(now)
            elif verdict.presence is Presence.REACHABLE:
                record.recent = record.rounds = 0  # what was before is told

    def returning(self, now: float) -> list[NodeName]:
        """Return the unreachable nodes that answer again, and have yet to show who they are."""
        return [
            name
            for name, subject in self._subjects.items()
            if subject.presence is Presence.UNREACHABLE
            and (record := self._records.get(name))
            and not record.confirmed
            and record.denied_until <= now
            and record.goods >= self._goods(now, record)
        ]

    def confirm(self, node: NodeName) -> None:
        """Take it that the machine at the address of `node` is the one that we know."""
        if record := self._records.get(node):
            record.confirmed = True

    def postpone(self, now: float, node: NodeName) -> None:
        """Ask it again in a while who it is: it answers, but could not be asked."""
        if record := self._records.get(node):
            record.denied_until = now + self._rules.recheck_s

    def deny(self, now: float, node: NodeName, why: str) -> Verdict | None:
        """Take it that it is another one, or lets nobody in; return what is news to the log."""
        subject, record = self._subjects.get(node), self._records.get(node)
        if subject is None or record is None or subject.presence is not Presence.UNREACHABLE:
            return None
        record.denied_until, record.goods = now + self._rules.denied_s, 0
        if subject.reason == why:
            return None
        return _change(node, subject, Presence.UNREACHABLE, why)


def _change(name: NodeName, subject: Subject, presence: Presence, reason: str) -> Verdict:
    return Verdict(node=name, was=subject.presence, presence=presence, reason=reason)

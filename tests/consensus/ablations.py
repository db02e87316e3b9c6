"""What a careless hand could take away: each plants one mistake in the product, for the laws to find."""

from collections.abc import Callable, Container
from random import Random
from typing import Any

import pytest

from hamgr.autopilot import rules
from hamgr.raft.core import clients, following
from hamgr.raft.core.core import Core
from hamgr.raft.core.following import Following
from hamgr.raft.core.shrinking import Shrinking
from hamgr.raft.freshness import Freshness
from hamgr.raft.protocol import guard, outbox, reads
from hamgr.raft.protocol.configurations import Configurations
from hamgr.raft.protocol.membership import Configuration
from hamgr.raft.protocol.messages import Message
from hamgr.raft.store.journal import Journal

Plant = Callable[[pytest.MonkeyPatch], None]


class _Everything(Container[str]):
    def __contains__(self, _kind: object) -> bool:
        return True


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """A promise leaves while the disk is still at work."""
    patch.setattr(outbox, "PROMISES_NOTHING", _Everything())


def acknowledge_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Promises leave in order, but the disk is hardly ever asked."""
    sync, random = Journal.sync, Random(1)

    def sync_sometimes(journal: Journal) -> None:
        if random.random() < 0.0005:
            sync(journal)

    patch.setattr(Journal, "sync", sync_sometimes)


def commit_while_a_snapshot_comes(patch: pytest.MonkeyPatch) -> None:
    """As the library does: the leader's commit index is taken over with each piece."""

    def keep_following(self: guard.Guard, sender: Any, message: Message) -> None:
        commit = 2**40 if message["type"] == "snapshot_piece" else 0
        self._core.library.feed(
            sender, {"type": "append_entries", "term": message["term"], "commit_index": commit}
        )

    patch.setattr(guard.Guard, "_keep_following", keep_following)


def believe_acknowledgements_of_any_term(patch: pytest.MonkeyPatch) -> None:
    """As the library does: who has acknowledged an index in an older term counts for it in this one."""

    def is_for_leader(self: guard.Guard, sender: Any, _message: Message) -> bool:
        return bool(self._core.leads and sender in self._replicator.followers)

    patch.setattr(guard.Guard, "_is_for_leader", is_for_leader)


def stand_without_asking_before(patch: pytest.MonkeyPatch) -> None:
    """No PreVote: a silence is enough to raise the term."""

    def campaign(self: Core, now: float) -> None:
        self.election.allow(self.term, now)

    patch.setattr(Core, "_campaign", campaign)


def count_a_vote_as_often_as_it_comes(patch: pytest.MonkeyPatch) -> None:
    """As the library does."""

    def response_vote(self: guard.Guard, sender: Any, message: Message) -> None:
        if message["term"] == self._core.term:
            self._core.library.feed(sender, message)

    patch.setattr(guard.Guard, "_response_vote", response_vote)


def cut_the_log_at_whatever_is_sent(patch: pytest.MonkeyPatch) -> None:
    """As the library does: what a late message overlaps is taken back."""
    patch.setattr(following, "spare_known_entries", lambda _message, _log: None)


def read_without_asking_the_majority(patch: pytest.MonkeyPatch) -> None:
    """A leader answers with what it has committed, whether or not it still leads."""

    def ask(self: reads.ReadRounds, answer: reads.Answer) -> None:
        answer(self._raft.commit if self._raft.leads else None)

    patch.setattr(reads.ReadRounds, "ask", ask)


def change_two_things_at_once(patch: pytest.MonkeyPatch) -> None:
    """A change of the members is begun while another one may still be taken back."""
    refusal = clients.Clients._refusal

    def careless(self: clients.Clients, after: Configuration, fenced: bool) -> str:
        said = refusal(self, after, fenced)
        return "" if "under way" in said or "a moment ago" in said else said

    patch.setattr(clients.Clients, "_refusal", careless)


def lead_on_in_a_term_of_another(patch: pytest.MonkeyPatch) -> None:
    """Who once led goes on when it has not heard of its leader lately, whatever happened since."""

    def led_once(self: Shrinking) -> bool:
        core = self._core
        lost = not core.leads and not core.election.leader_is_alive(core.now())
        return self._led_in >= 0 and lost and core.me in core.configuration.voter_ids

    patch.setattr(Shrinking, "may_lead_on", property(led_once))


def let_go_of_several_at_once(patch: pytest.MonkeyPatch) -> None:
    """A second voter is given up before the first change is committed."""
    change_two_things_at_once(patch)
    patch.setattr(Shrinking, "_unsettled", lambda _self: "")


def let_go_before_the_own_term_is_committed(patch: pytest.MonkeyPatch) -> None:
    """A leader that was just elected changes the electorate: Ongaro's mistake, corrected in 2015."""
    refusal = clients.Clients._refusal

    def careless(self: clients.Clients, after: Configuration, fenced: bool) -> str:
        said = refusal(self, after, fenced)
        return "" if "a moment ago" in said else said

    def unsettled(self: Shrinking) -> str:
        core = self._core
        return "under way" if core.configuration_index > core.commit else ""

    patch.setattr(clients.Clients, "_refusal", careless)
    patch.setattr(Shrinking, "_unsettled", unsettled)


def let_go_without_a_majority_of_the_new(patch: pytest.MonkeyPatch) -> None:
    """A leader gives up whoever is silent, whether or not those who live can commit that."""
    patch.setattr(Shrinking, "_without_majority", lambda _self, _name: "")
    patch.setattr(rules, "_majority_lives", lambda _view, _one: True)


def forget_the_configuration_in_the_log(patch: pytest.MonkeyPatch) -> None:
    """A replica that starts again counts those whom the snapshot, or the operator's file, names."""

    def start(self: Following, initial: Configuration) -> Configurations:
        with patch.context() as started:
            started.setattr(following, "_append_to", lambda *_: False)
            return start_well(self, initial)

    start_well = Following.start
    patch.setattr(Following, "start", start)


def vote_for_everybody(patch: pytest.MonkeyPatch) -> None:
    """A vote is forgotten as soon as it is given."""
    note = Journal.setCurrentTerm
    patch.setattr(Journal, "setCurrentTerm", lambda self, term, _vote: note(self, term, None))


def count_age_from_when_an_answer_came(patch: pytest.MonkeyPatch) -> None:
    """What was on its way for long is taken for news."""
    answered = Freshness._answered

    def as_news(self: Freshness, index: int | None) -> None:
        self._asked_at = self._clock()
        answered(self, index)

    patch.setattr(Freshness, "_answered", as_news)

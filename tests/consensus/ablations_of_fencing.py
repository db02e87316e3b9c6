"""What a careless hand could take away of the rules for two that fence each other; see `ablations`."""

import pytest

from hamgr.raft.core.pair import Pair
from hamgr.raft.core.shrinking import Evidence, Shrinking
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration
from tests.consensus.fences import Fences


def let_go_without_fencing(patch: pytest.MonkeyPatch) -> None:
    """A leader of two lets the other one go as without fencing."""
    patch.setattr(Shrinking, "_unfenced", lambda *_: "")
    refuse_no_change(patch)


def go_on_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A follower goes on that does not know what its leader did before it was started."""

    def unknowing(self: Pair) -> str:
        core = self._core
        armed = core.configuration.armed and core.configuration_index <= core.commit
        return "" if armed else "not armed"

    patch.setattr(Pair, "_unknowing", unknowing)


def take_a_heartbeat_for_news(patch: pytest.MonkeyPatch) -> None:
    """A follower has followed when its leader spoke to it, whatever it has of its log."""

    def unknowing(self: Pair) -> str:
        core = self._core
        armed = core.configuration.armed and core.configuration_index <= core.commit
        return "" if armed and self._followed[0] == core.term else "not armed, or not followed"

    patch.setattr(Pair, "_unknowing", unknowing)


def disarm_when_it_is_known_to_be_committed(patch: pytest.MonkeyPatch) -> None:
    """A follower goes by the last configuration that it knows to be committed."""

    def unknowing(self: Pair) -> str:
        core = self._core
        followed = self._followed[0] == core.term and self._followed[1] <= core.log.last
        return "" if core.configurations.at(core.commit).armed and followed else "not armed"

    patch.setattr(Pair, "_unknowing", unknowing)


def refuse_no_change(patch: pytest.MonkeyPatch) -> None:
    """Voters come and go while fencing is armed."""
    check = membership.check_change

    def careless(before: Configuration, after: Configuration, *, fenced: bool = False) -> None:
        check(Configuration(before.voters, before.learners), after, fenced=fenced)

    patch.setattr(membership, "check_change", careless)


def act_though_it_was_heard(patch: pytest.MonkeyPatch) -> None:
    """Whoever is verified to have been off is off."""
    not_dead = Shrinking.not_dead

    def careless(self: Shrinking, evidence: Evidence, name: str) -> str:
        return "" if evidence.fenced else not_dead(self, evidence, name)

    patch.setattr(Shrinking, "not_dead", careless)


def lie(patch: pytest.MonkeyPatch) -> None:
    """The command says that the other one is off, and does nothing."""
    init = Fences.__init__

    def careless(self: Fences, *arguments: object, **named: object) -> None:
        init(self, *arguments, **named)  # type: ignore[arg-type]  # what was given is handed on as it is
        self.lies = True

    patch.setattr(Fences, "__init__", careless)

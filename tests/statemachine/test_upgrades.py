"""Upgrading hamgr itself: one replica at a time, and stopped by the first that does not take it."""

import pytest

from statemachine.cluster import generations
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Accepted, Reason, Rejected
from statemachine.upgrade_commands import BeginUpgrade, GiveUpgradeTurn, ReportUpgrade, StopUpgrade
from statemachine.upgrading import UpgradePhase, UpgradeState, Wheel
from statemachine.words import Digest

WHEELS = (Wheel(name="hamgr", version="0.2.0", digest=Digest("sha256:" + "a" * 64)),)
REPLICAS = ("r1", "r2", "r3")


class Log:
    def __init__(self):
        self.state = State()
        self.count = 0

    def say(self, command, **fields):
        self.count += 1
        self.state, outcome = apply(
            self.state, command(request_id=f"q-{self.count}", at=1000.0 + self.count, actor="ada", **fields)
        )
        return outcome

    def begin(self, **fields):
        said = {"version": "0.2.0", "wheels": WHEELS, "replicas": REPLICAS, **fields}
        return self.say(BeginUpgrade, **said)

    def give(self, replica):
        return self.say(GiveUpgradeTurn, upgrade=self.upgrade.id, replica=replica)

    def report(self, replica, phase, sentence=""):
        return self.say(
            ReportUpgrade, upgrade=self.upgrade.id, replica=replica, phase=phase, sentence=sentence
        )

    @property
    def upgrade(self):
        return self.state.upgrade

    @property
    def phases(self):
        return [turn.phase for turn in self.upgrade.replicas.values()]


@pytest.fixture
def log():
    return Log()


def test_the_upgrade_is_done_when_every_replica_is(log):
    log.begin()
    for name in REPLICAS:
        assert log.upgrade.state is UpgradeState.RUNNING
        assert isinstance(log.give(name), Accepted)
        log.report(name, UpgradePhase.RESTARTING)
        log.report(name, UpgradePhase.DONE)
    assert log.upgrade.state is UpgradeState.DONE
    assert log.state.events[-1].message == "all replicas run hamgr 0.2.0"


def test_only_one_replica_has_its_turn(log):
    log.begin()
    log.give("r2")
    before = log.upgrade
    outcome = log.give("r1")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.BUSY
    assert log.upgrade == before


@pytest.mark.parametrize("phase", [UpgradePhase.ROLLED_BACK, UpgradePhase.FAILED])
def test_a_replica_that_does_not_take_it_stops_the_upgrade_with_its_sentence(log, phase):
    log.begin()
    log.give("r1")
    log.report("r1", phase, "r1: the new release did not answer")
    assert log.upgrade.state is UpgradeState.STOPPED
    assert log.upgrade.why == "r1: the new release did not answer"
    assert isinstance(log.give("r2"), Rejected)
    assert log.phases == [phase, UpgradePhase.WAITING, UpgradePhase.WAITING]


def test_the_same_upgrade_goes_on_after_it_was_stopped_and_does_nothing_twice(log):
    log.begin()
    log.give("r1")
    log.report("r1", UpgradePhase.DONE)
    log.give("r2")
    log.report("r2", UpgradePhase.FAILED, "no room")
    first = log.upgrade.id
    log.begin(done=("r1",))
    assert log.upgrade.id == first
    assert log.phases == [UpgradePhase.DONE, UpgradePhase.WAITING, UpgradePhase.WAITING]
    assert log.upgrade.replicas["r2"].tries == 1


def test_an_upgrade_that_runs_is_not_replaced_by_another(log):
    log.begin()
    before = log.upgrade
    outcome = log.begin(version="0.3.0")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.BUSY
    assert log.upgrade == before


def test_nothing_new_begins_while_a_replica_of_a_stopped_upgrade_still_works(log):
    log.begin()
    log.give("r1")
    log.say(StopUpgrade, upgrade=log.upgrade.id)
    assert isinstance(log.begin(), Rejected)
    log.report("r1", UpgradePhase.DONE)
    assert log.upgrade.state is UpgradeState.STOPPED
    assert log.upgrade.replicas["r1"].phase is UpgradePhase.DONE
    assert isinstance(log.begin(done=("r1",)), Accepted)


def test_a_replica_that_is_given_up_keeps_nobody_from_beginning_again(log):
    log.begin()
    log.give("r1")
    log.say(StopUpgrade, upgrade=log.upgrade.id, reason="r1 is silent")
    assert log.upgrade.replicas["r1"].phase is UpgradePhase.INSTALLING
    log.say(StopUpgrade, upgrade=log.upgrade.id, reason="unknown", given_up="r1")
    assert log.upgrade.replicas["r1"].phase is UpgradePhase.FAILED
    assert log.upgrade.replicas["r1"].sentence == "unknown"
    assert log.upgrade.why == "r1 is silent"
    assert isinstance(log.begin(), Accepted)


def test_a_cluster_that_begins_again_upgrades_nobody_by_itself(log):
    log.begin()
    log.give("r2")
    reborn = generations.begin(log.state, cluster="new", source="from a backup", at=9.0, actor="ada")
    assert reborn.upgrade.state is UpgradeState.STOPPED
    assert reborn.upgrade.at_work == ""
    assert reborn.upgrade.why.startswith("from a backup; ")


def test_a_replica_never_goes_back_and_a_foreign_report_changes_nothing(log):
    log.begin()
    log.give("r1")
    log.report("r1", UpgradePhase.SETTLING)
    before = log.upgrade
    assert isinstance(log.report("r1", UpgradePhase.RESTARTING), Rejected)
    assert isinstance(log.report("r2", UpgradePhase.DONE), Rejected)
    stale = log.say(ReportUpgrade, upgrade="u-0", replica="r1", phase=UpgradePhase.DONE)
    assert isinstance(stale, Rejected)
    assert stale.reason is Reason.STALE_CLAIM
    assert log.upgrade == before


def test_a_report_that_is_said_twice_is_no_news(log):
    log.begin()
    log.give("r1")
    log.report("r1", UpgradePhase.RESTARTING)
    before = log.upgrade
    assert isinstance(log.report("r1", UpgradePhase.RESTARTING), Accepted)
    assert log.upgrade == before


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "../x"},
        {"wheels": ()},
        {"replicas": ()},
        {"replicas": ("r1", "r1")},
        {"replicas": ("R 1",)},
        {"wheels": (Wheel(name="hamgr", version="0.2.0", digest=Digest("sha256:short")),)},
    ],
    ids=["version", "no wheel", "nobody", "twice", "name", "digest"],
)
def test_an_upgrade_that_cannot_be_right_is_refused_and_nothing_is_kept(log, fields):
    assert isinstance(log.begin(**fields), Rejected)
    assert log.upgrade is None

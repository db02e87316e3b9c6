"""Handlers: steps that run at the end of a verb because something changed, or may have."""

import pytest

from statemachine.manifest import StepSpec
from statemachine.words import Ending, JobKind
from tests.statemachine.fleet import Fleet, component, manifest

RESTARTS = component(
    "app",
    commission=(
        StepSpec(name="file", notify=("restart",)),
        StepSpec(name="more", notify=("restart",)),
        StepSpec(name="restart", handler=True),
    ),
    verify=(StepSpec(name="answers", check=True),),
    cleanup=(),
)


@pytest.mark.parametrize(
    ("changed", "owed"), [(True, "restart"), (False, "answers"), (None, "restart")], ids=str
)
def test_a_handler_runs_once_when_a_step_changed_something_or_may_have(
    changed: bool | None, owed: str
) -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(RESTARTS))
    fleet.discovered("a")
    job = fleet.submit(JobKind.COMMISSION, "a", role="web")
    fleet.claim(job, "a")
    fleet.step(job, "a", changed=changed)
    fleet.step(job, "a", changed=False)
    assert fleet.owed(job, "a").endswith(f".{owed}/1")
    fleet.drive(job)
    ran = [result.step.rsplit(".", 1)[1] for result in fleet.task(job, "a").results]
    assert ran.count("restart") == (owed == "restart")


def test_a_step_that_was_lost_may_have_changed_something() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(RESTARTS))
    fleet.discovered("a")
    job = fleet.submit(JobKind.COMMISSION, "a", role="web")
    fleet.claim(job, "a")
    fleet.step(job, "a", Ending.LOST)
    fleet.step(job, "a", changed=False)
    fleet.step(job, "a", changed=False)
    assert fleet.owed(job, "a").endswith(".restart/1")

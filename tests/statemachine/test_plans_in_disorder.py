"""Plans recorded, approved and begun in any order, among everything else that may be proposed."""

from random import Random
from typing import Any

from statemachine import codec
from statemachine.commands import ApprovePlan, Command, RecordPlan, SubmitJob
from statemachine.jobs import grounds
from statemachine.machine import apply
from statemachine.model import State
from statemachine.outcomes import Accepted, Outcome, Reason
from statemachine.planned import PLANS_MAX, Plan
from tests.statemachine.chaos import KINDS, Chaos, start
from tests.statemachine.invariants import check_codec, check_step

STORIES = 8
COMMANDS = 400
PEOPLE = ("ann", "bob", "eve")
PLANNING = ("record", "record", "record", "approve", "approve", "begin", "begin", "begin")


class Planners(Chaos):
    """Also draws plans: of what might be submitted, approvals by anybody, and beginnings."""

    def head(self) -> dict[str, Any]:
        return {**super().head(), "actor": self.pick(*PEOPLE)}

    def record(self) -> Command:
        head = self.head()
        wanted = self.submit()
        assert isinstance(wanted, SubmitJob)
        fixed = grounds.fixed(wanted, tuple(dict.fromkeys(wanted.nodes)), wanted.bundle)
        nodes = grounds.preconditions(self.state, fixed)
        needs = self.odds(50)
        name = grounds.plan_hash(fixed, nodes, needs_approval=needs)
        if self.odds(10):
            wrong: list[dict[str, Any]] = [
                {"plan": "x"},
                {"request": wanted},
                {"nodes": {}},
                {"nodes": dict.fromkeys(nodes, b"\x00")},
                {"needs_approval": not needs},
            ]
            fields = {"plan": name, "request": fixed, "nodes": nodes, "needs_approval": needs}
            return RecordPlan(**head, **{**fields, **self.pick(*wrong)})
        return RecordPlan(**head, plan=name, request=fixed, nodes=nodes, needs_approval=needs)

    def _plan(self) -> str:
        return self.pick(*self.state.plans) if self.state.plans and not self.odds(5) else "no plan"

    def approve(self) -> Command:
        return ApprovePlan(**self.head(), plan=self._plan())

    def begin(self) -> Command:
        name = self._plan()
        plan = self.state.plans.get(name)
        wanted = self.submit()
        assert isinstance(wanted, SubmitJob)
        kind = plan.kind if plan is not None and self.odds(95) else wanted.kind
        more = {"variables": wanted.variables} if self.odds(5) else {}
        return SubmitJob(**self.head(), kind=kind, plan=name, **more)


def laws(before: State, command: Command, after: State, outcome: Outcome) -> None:
    """What holds of plans, worked out again in the plainest way."""
    assert len(after.plans) <= PLANS_MAX
    for plan in after.plans.values():
        assert not plan.approved_by or plan.approved_by != plan.author
    if after.plans == before.plans or not isinstance(outcome, Accepted):
        return
    changed = [name for name in after.plans if after.plans[name] != before.plans.get(name)]
    assert len(changed) == 1
    name, (old, new) = changed[0], (before.plans.get(changed[0]), after.plans[changed[0]])
    if isinstance(command, RecordPlan):
        assert old is None or old.used_by
        assert (new.author, new.approved_by, new.used_by) == (command.actor, "", "")
    elif isinstance(command, ApprovePlan):
        assert old is not None
        assert (new.approved_by, old.approved_by, old.used_by) == (command.actor, "", "")
    else:
        assert isinstance(command, SubmitJob)
        _begun(before, after, command, name, old, new)


def _begun(before: State, after: State, command: SubmitJob, name: str, old: Plan | None, new: Plan) -> None:
    assert old is not None
    assert command.plan == name
    assert not old.used_by
    assert old.approved_by or not old.needs_approval
    request = codec.decode_command(old.request)
    assert isinstance(request, SubmitJob)
    assert grounds.preconditions(before, request) == old.nodes
    job = after.jobs[new.used_by]
    assert new.used_by not in before.jobs
    assert (set(job.tasks), job.kind, job.role, job.variables, job.rollout, job.plan) == (
        set(request.nodes),
        request.kind,
        request.role,
        request.variables,
        request.rollout,
        name,
    )


def _story(seed: int) -> set[str]:
    """Return what was answered to what in one story."""
    rng = Random(seed)
    state, sent = start(), list[Command]()
    seen: set[str] = set()
    for _ in range(COMMANDS):
        draw = Planners(rng, state, sent)
        command = draw.command(rng.choice(PLANNING if rng.randrange(2) else KINDS))
        before = state
        state, outcome = apply(before, command)
        check_step(before, command, state, outcome)
        laws(before, command, state, outcome)
        sent.append(command)
        said = "accepted" if isinstance(outcome, Accepted) else outcome.reason.value
        seen.add(f"{type(command).__name__} {said}")
    check_codec(state)
    return seen


def test_plans_keep_their_promises_whatever_is_proposed_and_in_whatever_order() -> None:
    seen: set[str] = set()
    for seed in range(STORIES):
        try:
            seen |= _story(seed)
        except AssertionError as broken:
            raise AssertionError(f"in the story of seed {seed}: {broken}") from broken
    assert seen >= {
        *("RecordPlan accepted", "ApprovePlan accepted", "SubmitJob accepted"),
        *(f"SubmitJob {reason}" for reason in (Reason.CHANGED, Reason.NOT_APPROVED, Reason.NO_SUCH_PLAN)),
        *(f"ApprovePlan {reason}" for reason in (Reason.NOT_ALLOWED, Reason.NO_SUCH_PLAN)),
    }

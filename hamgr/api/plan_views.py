"""Plans as JSON: what would be run, what it would change, what could go wrong, who wrote and approved it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hamgr.api.previews import preview
from hamgr.api.views import moment
from hamgr.jobs.risks import risks
from hamgr.jobs.sights import NodeSeen, Seen, Verdict
from statemachine.jobs import approvals, grounds
from statemachine.model import Job, State
from statemachine.planned import Plan


class _Diffs:
    """Diffs by number: many nodes have the same one, and it is told once."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def number(self, text: str) -> str | None:
        return self._numbers.setdefault(text, str(len(self._numbers) + 1)) if text else None

    def view(self) -> dict[str, str]:
        return {number: text for text, number in self._numbers.items()}


def looked_at(
    before: State, after: State, job: Job, seen: Sequence[NodeSeen], voters: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a job would do, step by step, and its risks; `diff` of a step is a key of `diffs`."""
    diffs = _Diffs()
    counts = Counter(node.verdict for node in seen)
    view = preview(before, after, job)
    del view["dry_run"]
    return view | {
        "changes": counts[Verdict.WOULD_CHANGE] + counts[Verdict.UNKNOWN],
        "summary": {verdict.value: counts[verdict] for verdict in Verdict},
        "looks": [
            {
                "node": node.node,
                "wave": job.tasks[node.node].wave,
                "verdict": node.verdict,
                "error": node.error,
                "steps": [_step(step, diffs) for step in node.steps],
            }
            for node in seen
        ],
        "diffs": diffs.view(),
        "risks": risks(before, job, seen, voters),
    }


def _step(seen: Seen, diffs: _Diffs) -> dict[str, Any]:
    step = seen.step
    return {
        "key": step.key,
        "phase": step.phase,
        "component": step.component,
        "verb": step.verb,
        "step": step.spec.name,
        "proof": seen.proof,
        "verdict": None if seen.proof else seen.verdict,
        "note": seen.note,
        "broken": seen.broken,
        "diff": diffs.number(seen.diff),
    }


def plan_line(name: str, plan: Plan) -> dict[str, Any]:
    """Return a plan as lists show it."""
    return {
        "hash": name,
        "kind": plan.kind,
        "nodes": list(plan.nodes),
        "author": plan.author,
        "at": moment(plan.at),
        "needs_approval": plan.needs_approval,
        "approved_by": plan.approved_by or None,
        "approved_at": moment(plan.approved_at),
        "used_by": plan.used_by or None,
        "used_at": moment(plan.used_at),
        "index": plan.index,
    }


def plan_whole(state: State, name: str, plan: Plan) -> dict[str, Any]:
    """Return a plan with what it would run, and what has moved since it was made."""
    request = approvals.request_of(plan)
    moved = {} if plan.used_by else grounds.moved(state, request, plan.nodes)
    return plan_line(name, plan) | {"request": grounds.said(request), "moved": moved}

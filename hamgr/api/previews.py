"""What a job would do, read from the state that its command would lead to."""

from collections import Counter
from typing import Any

from statemachine import phases
from statemachine.lifecycle import COUNTED
from statemachine.model import Job, State
from statemachine.words import JobKind, NodeName


def preview(before: State, after: State, job: Job) -> dict[str, Any]:
    """Return targets, waves and steps per role; for a decommission also what stays in service."""
    waves: dict[int, list[str]] = {}
    for task in job.tasks.values():
        waves.setdefault(task.wave, []).append(task.node)
    view: dict[str, Any] = {
        "dry_run": True,
        "kind": job.kind,
        "nodes": list(job.tasks),
        "rollout": job.rollout.name or None,
        "canary": job.rollout.canary,
        "waves": [waves[number] for number in sorted(waves)],
        "max_parallel": job.max_parallel,
        "max_failed": job.max_failed,
        "bundle": job.bundle or None,
        "work": _work(before, job),
        "moves": _moves(before, job),
        "changes": 0 if job.kind is JobKind.VERIFY else len(job.tasks),
        "index": before.index,
    }
    if job.kind is JobKind.DECOMMISSION:
        view["service"] = _service(before, job)
    refused = [(task.node, task.error) for task in after.jobs[job.id].tasks.values() if task.error]
    view["skipped"] = [{"node": node, "reason": error} for node, error in refused]
    return view


def _work(state: State, job: Job) -> list[dict[str, Any]]:
    """Return the steps for each role and bundle that the job's nodes have."""
    groups: dict[tuple[str, str], list[NodeName]] = {}
    if job.kind is JobKind.DISCOVER:
        return []
    for name in job.tasks:
        node = state.nodes[name]
        phase = phases.PHASES[job.kind][0]
        groups.setdefault((phases.role_of(job, node), phases.bundle_of(job, node, phase)), []).append(name)
    return [
        {
            "role": role,
            "bundle": bundle or None,
            "nodes": names,
            "steps": [
                {"phase": step.phase, "component": step.component, "verb": step.verb, "step": step.spec.name}
                for phase in phases.PHASES[job.kind]
                for step in phases.steps(state, job, state.nodes[names[0]], phase)
            ],
        }
        for (role, bundle), names in groups.items()
    ]


def _moves(state: State, job: Job) -> list[dict[str, Any]]:
    """Return how many nodes go from which bundle to which; empty for jobs that change none."""
    if job.kind not in (JobKind.COMMISSION, JobKind.UPGRADE):
        return []
    found = Counter(
        (state.nodes[name].bundle, phases.wanted_bundle(job, task)) for name, task in job.tasks.items()
    )
    return [
        {"from": before or None, "to": after or None, "nodes": count}
        for (before, after), count in found.items()
    ]


def _service(state: State, job: Job) -> dict[str, dict[str, int]]:
    """Return how many nodes of each role count as in service, before and after."""
    before = Counter(node.role for node in state.nodes.values() if node.status in COUNTED)
    gone = Counter(state.nodes[name].role for name in job.tasks if state.nodes[name].status in COUNTED)
    return {role: {"before": before[role], "after": before[role] - gone[role]} for role in gone}

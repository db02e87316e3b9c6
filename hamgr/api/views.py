"""Nodes, jobs and events of the state as JSON; times are Unix seconds, null where nothing happened yet."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from statemachine.model import Event, Job, Node, Result, State, Task, Transition
from statemachine.rollout import NamedRollout, Rollout
from statemachine.rollouts import waves
from statemachine.why.reasons import way_out
from statemachine.words import TASK_ENDED, Digest, JobKind, JobState, TaskState


def moment(at: float) -> float | None:
    """Return a time, or None for the zero that means "never"."""
    return at or None


def node_line(node: Node) -> dict[str, Any]:
    """Return a node as lists show it."""
    cordon = node.maintenance
    return {
        "name": node.name,
        "status": node.status,
        "presence": node.presence,
        "presence_reason": node.presence_reason,
        "presence_since": moment(node.presence_at),
        "health": node.health,
        "role": node.role,
        "address": node.endpoint.address,
        "port": node.endpoint.port,
        "user": node.endpoint.user,
        "labels": dict(node.labels),
        "job": node.job or None,
        "bundle": node.bundle or None,
        "last_good": node.last_good or None,
        "error": node.error,
        "maintenance": {
            "reason": cordon.reason,
            "owner": cordon.owner,
            "since": cordon.since,
            "until": cordon.until,
            "drain": cordon.drain or None,
        }
        if cordon
        else None,
        "debt": _debt(node),
        "seen_at": moment(node.seen_at),
        "index": node.index,
    }


def _debt(node: Node) -> dict[str, Any] | None:
    """Return what a node missed while it could not be reached, and what becomes of that."""
    debt = node.debt
    if debt is None:
        return None
    by_hand = f"hamgr node upgrade {node.name}, or hamgr node forgive {node.name}"
    return {
        "job": debt.job,
        "bundle": debt.bundle,
        "variables": dict(debt.variables),
        "since": debt.since,
        "actor": debt.actor,
        "error": debt.error,
        "paid_by": debt.paid_by or None,
        "tries": debt.tries,
        "not_before": moment(debt.not_before),
        "way_out": by_hand if debt.error else "it pays by itself as soon as it can be reached",
    }


def node_whole(node: Node) -> dict[str, Any]:
    """Return everything about a node."""
    return node_line(node) | {
        "facts": dict(node.facts),
        "variables": dict(node.variables),
        "machine_id": node.machine_id,
        "host_key": node.host_key,
        "epoch": node.epoch,
        "returns_to": node.returns_to,
        "last_request": dict(node.last_request),
        "history": [_transition(line) for line in node.history],
        "past": [_transition(line) for line in node.past],
    }


def _transition(line: Transition) -> dict[str, Any]:
    return {
        "index": line.index,
        "at": line.at,
        "status": line.status,
        "trigger": line.trigger,
        "actor": line.actor,
        "job": line.job or None,
        "reason": line.reason,
    }


def job_line(job: Job) -> dict[str, Any]:
    """Return a job as lists show it."""
    states = Counter(task.state for task in job.tasks.values())
    first = next((task for task in job.tasks.values() if task.state not in TASK_ENDED), None)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "ended": job.state is not JobState.RUNNING,
        "actor": job.actor,
        "reason": job.reason,
        "role": job.role,
        "bundle": job.bundle or None,
        "max_parallel": job.max_parallel,
        "max_failed": job.max_failed,
        "progress": {
            "total": len(job.tasks),
            "done": sum(states[state] for state in TASK_ENDED),
            **{state.value: states[state] for state in TaskState},
        },
        "waves": {
            "total": max((task.wave for task in job.tasks.values()), default=-1) + 1,
            "open": first.wave if first else None,
        },
        "priority": job.priority,
        "holds": [
            {
                "kind": hold.kind,
                "since": hold.since,
                "reason": hold.reason,
                "actor": hold.actor,
                "until": hold.until,
                "way_out": way_out(job, hold),
            }
            for hold in job.holds
        ],
        "promoted": job.promoted,
        "failing": job.failing,
        "retry_of": job.retry_of or None,
        "revert_of": job.revert_of or None,
        "plan": job.plan or None,
        "submitted_at": job.submitted_at,
        "ended_at": moment(job.ended_at),
        "error": job.error,
        "index": job.index,
    }


def job_whole(state: State, job: Job, *, results: bool, tasks: bool = True) -> dict[str, Any]:
    """Return everything about a job; without `results` its tasks lack those of their attempts."""
    view = job_line(job) | {
        "rollout": _rollout(job.rollout),
        "forgiven": job.forgiven,
        "task_deadline": job.task_deadline_s or None,
        "owes": job.owes,
        "replaces": job.replaces or None,
        "blocked_by": _blocked_by(state, job),
        "variables": dict(job.variables),
        "sweep": job.sweep,
        "readmit": job.readmit,
        "labels": dict(job.labels),
    }
    if tasks:
        view["tasks"] = [task_line(task, results=results) for task in job.tasks.values()]
    return view


def _by_kind(defaults: Mapping[JobKind, str]) -> dict[str, str]:
    return {kind.value: name for kind, name in defaults.items()}


def _named_rollout(named: NamedRollout) -> dict[str, Any]:
    """Return a strategy of a bundle as it is written there, without what it leaves out."""
    view = _rollout(named.rollout)
    view["max_parallel"] = view["max_parallel"] or named.max_parallel or None
    if named.max_failed is not None:
        view["max_failed"] = named.max_failed
    return {key: value for key, value in view.items() if value or (key == "max_failed" and value == 0)}


def _rollout(rollout: Rollout) -> dict[str, Any]:
    """Return a strategy as a body would have it."""
    percent = rollout.max_failed_percent
    return {
        "name": rollout.name or None,
        "canary": rollout.canary,
        "promotion": rollout.promotion,
        "max_parallel": f"{rollout.max_parallel_percent}%" if rollout.max_parallel_percent else None,
        "domain": rollout.domain,
        "min_healthy": rollout.min_healthy_s,
        "healthy_deadline": rollout.healthy_deadline_s,
        "progress_deadline": rollout.progress_deadline_s,
        "max_failed": None if percent is None else f"{percent}%",
        "on_failure": rollout.on_failure,
        "below_minimum": rollout.below_minimum,
        "windows": [
            {"cron": window.cron, "duration": window.duration_s, "zone": window.zone}
            for window in rollout.windows
        ],
        "start_at": moment(rollout.start_at),
    }


def _blocked_by(state: State, job: Job) -> list[dict[str, Any]]:
    """Return which jobs have the locks that tasks of the open wave wait for, and how many."""
    if job.state is not JobState.RUNNING:
        return []
    nodes = [state.nodes.get(t.node) for t in waves.open_wave(job) if t.state is TaskState.QUEUED]
    locks = Counter(node.job for node in nodes if node is not None and node.job not in ("", job.id))
    return [{"job": other, "nodes": count} for other, count in locks.items()]


def task_line(task: Task, *, results: bool) -> dict[str, Any]:
    """Return a task, with how each of its attempts ended where `results` are wanted."""
    view: dict[str, Any] = {
        "node": task.node,
        "wave": task.wave,
        "state": task.state,
        "kind": task.kind,
        "phase": task.phase,
        "cursor": task.cursor,
        "attempt": task.attempt,
        "epoch": task.epoch,
        "claimant": task.claimant,
        "cancel": task.cancel,
        "failure": task.failure,
        **({} if task.variables is None else {"variables": dict(task.variables)}),
        "error": task.error,
        "step": task.results[-1].step if task.results else "",
        "started_at": moment(task.started_at),
        "ended_at": moment(task.ended_at),
    }
    if results:
        view["results"] = [_result(result) for result in task.results]
    return view


def _result(result: Result) -> dict[str, Any]:
    return {
        "step": result.step,
        "attempt": result.attempt,
        "ending": result.ending,
        "exit_code": result.exit_code,
        "passed": result.passed,
        "changed": result.changed,
        "started_at": moment(result.started_at),
        "ended_at": moment(result.ended_at),
        "error": result.error,
        "output_tail": result.output_tail,
    }


def event(event: Event) -> dict[str, Any]:
    """Return an event; `cursor` is its place among all events of the cluster."""
    return {
        "cursor": f"{event.index}.{event.part}",
        "index": event.index,
        "at": event.at,
        "kind": event.kind,
        "subject": event.subject,
        "message": event.message,
        "actor": event.actor,
        "job": event.job or None,
    }


def bundle_line(state: State, digest: Digest) -> dict[str, Any]:
    """Return a bundle as lists show it."""
    bundle = state.bundles[digest]
    return {
        "digest": bundle.digest,
        "current": bundle.digest == state.current_bundle,
        "message": bundle.message,
        "actor": bundle.actor,
        "at": bundle.at,
        "size_bytes": bundle.size_bytes,
        "roles": sorted(bundle.manifest.roles),
        "nodes": sum(node.bundle == digest for node in state.nodes.values()),
        "index": bundle.index,
    }


def bundle_whole(state: State, digest: Digest) -> dict[str, Any]:
    """Return what a bundle promises: roles, components, their verbs and steps."""
    manifest = state.bundles[digest].manifest
    return bundle_line(state, digest) | {
        "variables": dict(manifest.variables),
        "roles": {
            name: {
                "components": list(role.components),
                "variables": dict(role.variables),
                "requires": [{"role": needed.role, "min": needed.minimum} for needed in role.requires],
                "default_rollouts": _by_kind(role.default_rollouts),
            }
            for name, role in manifest.roles.items()
        },
        "rollouts": {name: _named_rollout(named) for name, named in manifest.rollouts.items()},
        "default_rollouts": _by_kind(manifest.default_rollouts),
        "components": {
            name: {
                "version": component.version,
                "verbs": {verb: [step.name for step in steps] for verb, steps in component.verbs.items()},
            }
            for name, component in manifest.components.items()
        },
    }

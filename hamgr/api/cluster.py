"""The cluster at a glance: replicas, what may be lost, counts, running work, and what needs a person."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hamgr.api.views import job_line
from hamgr.raft.port import Leadership
from statemachine.model import State
from statemachine.rollout import HoldKind
from statemachine.why.reasons import way_out
from statemachine.words import Health, NodeName, Presence, Status

NAMES_SHOWN_MAX = 5


def quorum(connected: int, total: int) -> dict[str, Any]:
    """Return how many replicas are needed and how many more may be lost.

    Args:
        connected: Replicas that work as far as this one sees, itself included.
    """
    needed = total // 2 + 1
    spare = connected - needed
    if spare < 0:
        sentence = f"{connected} of {total} replicas work and {needed} are needed: nothing can be changed"
    elif spare == 0:
        sentence = "no further replica may be lost"
    else:
        sentence = f"the loss of any {spare} more replica{'s' if spare > 1 else ''} is survived"
    return {
        "replicas": total,
        "connected": connected,
        "needed": needed,
        "survives": max(spare, 0),
        "sentence": sentence,
    }


def nodes(state: State) -> dict[str, Any]:
    """Return the nodes by status, presence, health and role."""
    found = state.nodes.values()
    return {
        "total": len(found),
        "status": dict(Counter(node.status.value for node in found)),
        "presence": dict(Counter(node.presence.value for node in found)),
        "health": dict(Counter(node.health.value for node in found)),
        "role": dict(Counter(node.role or "none" for node in found)),
        "maintenance": sum(node.maintenance is not None for node in found),
    }


def jobs(state: State) -> dict[str, Any]:
    """Return the running jobs and the one that ended last."""
    ended = [job for job in state.jobs.values() if job.id not in state.running]
    last = max(ended, key=lambda job: job.ended_at, default=None)
    return {
        "running": [job_line(state.jobs[job]) for job in state.running],
        "last": job_line(last) if last else None,
    }


def vip(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return who holds the virtual address, from what each replica says of itself; None: there is none."""
    parts = {name: part for name, part in told.items() if part}
    if not parts:
        return None
    holder = next((name for name, part in parts.items() if part["held"]), None)
    troubles = [f"{name}: {part['trouble']}" for name, part in sorted(parts.items()) if part["trouble"]]
    addresses = next(iter(parts.values()))["addresses"]
    return {"addresses": addresses, "holder": holder, "troubles": troubles}


def vip_warnings(found: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return what is wrong with the virtual address."""
    if found is None or (found["holder"] is not None and not found["troubles"]):
        return []
    message = "; ".join(found["troubles"]) or "no replica holds the virtual address"
    code = "vip-not-held" if found["holder"] is None else "vip-trouble"
    return [{"code": code, "message": message, "hint": "`hamgr vip show`"}]


def backup_warnings(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return which replicas failed to make a backup, as each says of itself."""
    parts = {name: (one or {}).get("backup") or {} for name, one in told.items()}
    failures = [f"{name}: {part['failure']}" for name, part in sorted(parts.items()) if part.get("failure")]
    hint = "`hamgr backup now` tries again"
    return [{"code": "backup-failed", "message": message, "hint": hint} for message in failures]


def fencing_warnings(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return whose fencing command failed its last test, as each says of itself."""
    parts = {name: (one or {}).get("fencing") or {} for name, one in told.items()}
    failures = [f"{name}: {part['failure']}" for name, part in sorted(parts.items()) if part.get("failure")]
    hint = "call the command by hand; it is tested again every minute (docs/voters.md)"
    return [{"code": "fencing-failed", "message": message, "hint": hint} for message in failures]


def warnings(
    state: State, leadership: Leadership, lost: list[str], connected: int, total: int
) -> list[dict[str, str]]:
    """Return what needs a person, each with a stable code and the way out."""
    found: list[tuple[str, str, str]] = []
    if not leadership.leader:
        found.append(("no-leader", "no leader is known", "wait a moment; see which replicas run"))
    if lost:
        found.append(
            ("replica-unreachable", f"no link to {', '.join(lost)}", "start it: `systemctl start hamgrd`")
        )
    if connected == total and total < 3:
        needs = "with three of them the loss of any one is survived"
        few = "one voter" if total == 1 else f"{total} voters"
        found.append(("no-fault-tolerance", f"the cluster has only {few}", needs))
    for code, names, sentence, hint in (
        ("node-quarantined", _where(state, status=Status.QUARANTINED), "quarantined", "hamgr why NODE"),
        ("node-unreachable", _missed(state), "unreachable", "hamgr node ls"),
        ("node-drifted", _where(state, health=Health.DRIFTED), "drifted", "hamgr why NODE"),
    ):
        if names:
            found.append((code, f"{len(names)} {sentence}: {_few(names)}", f"`{hint}`"))
    found += [
        ("job-waits", f"{job.id} waits for an operator: {hold.reason}", way_out(job, hold))
        for job in map(state.jobs.__getitem__, state.running)
        for hold in job.holds
        if hold.kind is not HoldKind.PAUSED and way_out(job, hold)
    ]
    if not state.current_bundle:
        found.append(("no-bundle", "there is no configuration yet", "push one: `hamgr config push DIR`"))
    return [{"code": code, "message": message, "hint": hint} for code, message, hint in found]


def _missed(state: State) -> list[str]:
    """Return who cannot be reached and is not in maintenance: there, silence is no alarm."""
    lost = _where(state, presence=Presence.UNREACHABLE)
    return [name for name in lost if state.nodes[NodeName(name)].maintenance is None]


def _where(state: State, **fields: object) -> list[str]:
    return sorted(
        node.name
        for node in state.nodes.values()
        if all(getattr(node, name) == value for name, value in fields.items())
    )


def _few(names: list[str]) -> str:
    rest = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")

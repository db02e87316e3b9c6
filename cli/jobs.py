"""Asking for a job: show what it would do, submit it, watch it; shared by every command that makes one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.exits import Exit
from cli.output import clean, note, short, show
from cli.progress import conclude, watch

if TYPE_CHECKING:
    from cli.client import Client

NAMES_SHOWN_MAX = 8


def preview(client: "Client", body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the server says that the job would do."""
    found: dict[str, Any] = client.call("POST", "/v1/jobs", body=body, query={"dry_run": True}).data
    return found


def show_preview(fmt: str, plan: Mapping[str, Any], *, exit_code: bool) -> Exit:
    """Print a plan; return `PENDING` where that was asked for and something would change."""
    show(fmt, dict(plan), names=list(plan["nodes"]), text=plan_text(plan))
    return Exit.PENDING if exit_code and plan["changes"] else Exit.OK


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return a plan for people: waves, then the steps for each role."""
    count = len(plan["nodes"])
    what = "address" if plan["kind"] == "discover" else "node"
    lines = [f"would {plan['kind']} {count} {what}{'' if count == 1 else 'es' if what == 'address' else 's'}"]
    if plan["bundle"]:
        lines[0] += f" with bundle {short(plan['bundle'])}"
    lines += move_lines(plan)
    lines += rollout_lines(plan)
    canaries = plan["nodes"][: plan.get("canary", 0)]
    for number, wave in enumerate(plan["waves"], start=1):
        lines.append(f"  wave {number}{' (canary)' if wave[0] in canaries else ''}: {few(wave)}")
    for group in plan["work"]:
        lines.append(f"  role {clean(group['role']) or '-'} ({len(group['nodes'])}):")
        steps = group["steps"]
        lines += [
            f"    {step['phase']:<8} {clean(step['component'])}: {clean(step['step'])}" for step in steps
        ]
    lines += service_lines(plan)
    lines += [f"  skipped {clean(item['node'])}: {clean(item['reason'])}" for item in plan["skipped"]]
    return "\n".join(lines)


def service_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what would be left in service, one line a role."""
    return [
        f"  role {clean(role)}: {counts['after']} of {counts['before']} stay in service"
        for role, counts in plan.get("service", {}).items()
    ]


def rollout_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return which strategy of the bundle the job has, if it has one."""
    return [f"  rollout: {clean(plan['rollout'])}, of the bundle"] if plan.get("rollout") else []


def move_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return how many nodes go from which bundle to which, one line each; none where they have none yet."""
    return [
        f"  {move['nodes']} from bundle {short(move['from'])} to {short(move['to'])}"
        if move["from"] != move["to"]
        else f"  {move['nodes']} with bundle {short(move['to'])}, which they have"
        for move in plan.get("moves", ())
        if move["from"]
    ]


def few(names: list[str]) -> str:
    """Return some names, and how many more there are."""
    rest = len(names) - NAMES_SHOWN_MAX
    return ", ".join(map(clean, names[:NAMES_SHOWN_MAX])) + (f" and {rest} more" if rest > 0 else "")


def submit(client: "Client", body: Mapping[str, Any], fmt: str, *, detach: bool) -> Exit:
    """Submit a job and, unless `detach`, watch it to its end."""
    return follow(client, client.call("POST", "/v1/jobs", body=body).data, fmt, detach=detach)


def follow(client: "Client", made: Mapping[str, Any], fmt: str, *, detach: bool) -> Exit:
    """Watch a job that was just made to its end, or with `detach` only say its name."""
    if detach:
        show(fmt, dict(made), names=[made["id"]], text=made["id"])
        note(f"to watch it: hamgr job watch {made['id']}")
        return Exit.OK
    watch(client, made["id"])
    return conclude(client, made["id"], fmt)


def end(code: Exit) -> None:
    """End the command with `code`."""
    click.get_current_context().exit(int(code))

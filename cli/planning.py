"""What a job would do, for people: nodes that would change alike are told together, what stays is folded."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli import jobs, stream
from cli.commands.node import path
from cli.exits import Exit
from cli.output import ago, clean, grey, note, short, show, styled
from cli.progress import conclude, watch

if TYPE_CHECKING:
    from cli.client import Client

TOLD_EVERY_S = 5.0
"""A plan of many nodes, or of silent ones, takes minutes."""
HASH_CHARS = 12
DIFF_LINES_MAX = 80
GLYPHS = {"would-change": ("~", "yellow"), "unknown": ("?", "magenta"), "unchanged": ("=", "white")}
TELLS = {"would-change": "would change", "unknown": "unknown", "unchanged": "unchanged"}

Plan = dict[str, Any]


def look(client: "Client", body: Mapping[str, Any], *, keep: bool) -> Plan:
    """Have the nodes looked at, and return what the job would do; with `keep` it can be begun by its hash."""
    return _looked(client, "/v1/plans", {} if keep else {"dry_run": "1"}, body)


def look_again(client: "Client", plan: str) -> Plan:
    """Have the nodes of a plan that is kept looked at, and return what it would change now."""
    return _looked(client, path("plans", plan), {"look": "1"}, None)


def _looked(client: "Client", target: str, query: dict[str, str], body: Mapping[str, Any] | None) -> Plan:
    """Return the plan at the end of a stream; a server that is lost meanwhile only costs another look."""
    grey("looking at the nodes ...")
    told_s = time.monotonic()
    found: Plan = {}
    for message in stream.follow(client, target, query, body=None if body is None else dict(body)):
        if message.kind == "plan":
            found = message.data
        elif message.kind == "looked" and time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            grey(f"looked at {message.data['looked']} of {message.data['nodes']} nodes")
    return found


def tell(fmt: str, plan: Plan, *, exit_code: bool) -> Exit:
    """Print a plan; return `PENDING` where that was asked for and something would change."""
    names = [plan["hash"]] if plan["recorded"] else list(plan["nodes"])
    show(fmt, plan, names=names, text=text(plan) if fmt in ("table", "wide") else "")
    if plan["recorded"] and fmt in ("table", "wide"):
        for line in next_lines(plan):
            note(line)
    return Exit.PENDING if exit_code and plan["changes"] else Exit.OK


def text(plan: Plan) -> str:
    """Return what a job would do, for people."""
    if plan["kind"] == "verify":
        return jobs.plan_text(plan)
    lines = [*_head(plan), *_groups(plan), *jobs.service_lines(plan)]
    lines += [f"  skipped {clean(item['node'])}: {clean(item['reason'])}" for item in plan["skipped"]]
    if plan["risks"]:
        lines += ["", styled("risks:", bold=True)]
        lines += [f"  {styled('!', fg='red')} {clean(risk)}" for risk in plan["risks"]]
    return "\n".join([*lines, "", summary(plan)])


def summary(plan: Plan) -> str:
    """Return in one line how many nodes would change."""
    counts = plan["summary"]
    change = counts["would-change"]
    parts = [f"{change} node{'' if change == 1 else 's'} would change", f"{counts['unchanged']} unchanged"]
    return ", ".join([*parts, *([f"{counts['unknown']} unknown"] if counts["unknown"] else [])])


def next_lines(plan: Plan) -> list[str]:
    """Return the commands to go on with."""
    name = plan["hash"][:HASH_CHARS]
    lines = [f"  to begin exactly this: hamgr apply --plan {name}"]
    if plan["needs_approval"] and not plan["approved_by"]:
        lines.insert(0, f"  somebody else has to approve it first: hamgr plan approve {name}")
    return lines


def about(plan: Plan) -> list[str]:
    """Return who wrote a plan that is kept, and whether it can still be begun."""
    approved = f"approved by {clean(plan['approved_by'])}" if plan["approved_by"] else "not approved yet"
    needs = approved if plan["approved_by"] or plan["needs_approval"] else "needs no approval"
    written = f"plan {plan['hash']}, by {clean(plan['author'])} {ago(plan['at'])} ago, {needs}"
    lines = [written]
    if plan["used_by"]:
        lines.append(f"  it was used by {clean(plan['used_by'])}: hamgr job show {clean(plan['used_by'])}")
    if plan.get("refused"):
        lines.append(f"  {styled('it would be refused now:', fg='red')} {clean(plan['refused'])}")
    moved = plan.get("moved") or {}
    if moved:
        lines.append(styled("  it cannot be begun any more, since something has moved:", fg="red"))
        lines += [f"    {clean(node)}: {clean(what)}" for node, what in moved.items()]
        lines.append("  make it anew with the same `hamgr plan` command")
    return lines


def begin(client: "Client", plan: str, fmt: str, *, reason: str, detach: bool) -> Exit:
    """Begin a plan and, unless `detach`, watch its job to the end."""
    made = client.call("POST", path("plans", plan) + ":apply", body={"reason": reason}).data
    if detach:
        show(fmt, made, names=[made["id"]], text=made["id"])
        note(f"to watch it: hamgr job watch {made['id']}")
        return Exit.OK
    watch(client, made["id"])
    return conclude(client, made["id"], fmt)


def _head(plan: Plan) -> Iterator[str]:
    count = len(plan["nodes"])
    bundle = f" with bundle {short(plan['bundle'])}" if plan["bundle"] else ""
    yield f"would {plan['kind']} {count} node{'' if count == 1 else 's'}{bundle}"
    yield from jobs.move_lines(plan)
    yield from jobs.rollout_lines(plan)
    canaries = plan["nodes"][: plan.get("canary", 0)]
    for number, wave in enumerate(plan["waves"], start=1):
        yield f"  wave {number}{' (canary)' if wave[0] in canaries else ''}: {jobs.few(wave)}"


def _groups(plan: Plan) -> Iterator[str]:
    """Yield the nodes that something would happen to, in groups of which it is all the same."""
    groups: dict[str, list[Plan]] = {}
    for seen in plan["looks"]:
        told = [(step["key"], step["verdict"], step["note"], step["diff"]) for step in seen["steps"]]
        groups.setdefault(repr((seen["verdict"], seen["error"], told)), []).append(seen)
    still = [seen["node"] for seen in plan["looks"] if seen["verdict"] == "unchanged"]
    for alike in groups.values():
        if alike[0]["verdict"] != "unchanged":
            yield ""
            yield from _group(plan, alike)
    if still:
        yield ""
        yield f"{len(still)} unchanged: {jobs.few(still)}"


def _group(plan: Plan, alike: Sequence[Plan]) -> Iterator[str]:
    first = alike[0]
    count = f" ({len(alike)} nodes)" if len(alike) > 1 else ""
    yield styled(f"{jobs.few([seen['node'] for seen in alike])}{count}", bold=True)
    if first["error"]:
        yield f"  {_mark('unknown')} {clean(first['error'])}"
        return
    work = [step for step in first["steps"] if not step["proof"]]
    for step in work:
        if step["verdict"] != "unchanged":
            because = f"  ({clean(step['note'])})" if step["note"] else ""
            yield (
                f"  {_mark(step['verdict'])} {clean(step['component'])}: {clean(step['step'])}"
                f"  {TELLS[step['verdict']]}{because}"
            )
            yield from _diff(plan["diffs"].get(step["diff"] or "", ""))
    folded = sum(step["verdict"] == "unchanged" for step in work)
    proofs = len(first["steps"]) - len(work)
    rest = [f"{folded} unchanged"] if folded else []
    rest += [f"{proofs} to prove it afterwards"] if proofs else []
    if rest:
        yield styled(f"    steps: {', '.join(rest)}", fg="bright_black")


def _diff(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for line in lines[:DIFF_LINES_MAX]:
        # Tabs are what some files are about; everything else that is not printed would steer the terminal.
        yield "      " + _coloured("\t".join(clean(part) for part in line.split("\t")))
    if len(lines) > DIFF_LINES_MAX:
        yield f"      ... and {len(lines) - DIFF_LINES_MAX} lines more; -o json has them all"


def _coloured(line: str) -> str:
    if line.startswith(("--- ", "+++ ")):
        return styled(line, bold=True)
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return styled(line, fg=colour) if colour else line


def _mark(verdict: str) -> str:
    glyph, colour = GLYPHS[verdict]
    return styled(glyph, fg=colour)

"""What could go wrong with a job, in plain words: for whoever has to say yes to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address

from hamgr.jobs.sights import NodeSeen
from statemachine.model import Job, State
from statemachine.nodes import requirements
from statemachine.nodes.requirements import Member
from statemachine.words import JobKind, NodeName, Presence, StepClass, TaskState

NAMES_SHOWN_MAX = 8


def risks(before: State, job: Job, seen: Sequence[NodeSeen], voters: Mapping[str, str]) -> list[str]:
    """Return one sentence for each risk, the gravest kinds first.

    Args:
        before: The state without the job.
        job: As it would be taken up.
        voters: The hosts of hamgr's voters, by name.
    """
    return [
        *_cannot(seen),
        *_quorum(before, job, voters),
        *_minimums(before, job),
        *_steps(seen),
        *_nodes(before, job),
        *_not_looked(seen),
    ]


def few(names: Iterable[str]) -> str:
    """Return some names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - NAMES_SHOWN_MAX
    return ", ".join(listed[:NAMES_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")


def waves_of(job: Job) -> list[list[NodeName]]:
    """Return the nodes of each wave, in order."""
    found: dict[int, list[NodeName]] = {}
    for task in job.tasks.values():
        found.setdefault(task.wave, []).append(task.node)
    return [found[wave] for wave in sorted(found)]


def _cannot(seen: Sequence[NodeSeen]) -> Iterator[str]:
    broken: dict[tuple[str, str], list[str]] = {}
    for node in seen:
        for step in node.steps:
            if step.broken:
                broken.setdefault((f"{step.step.component}: {step.step.spec.name}", step.note), []).append(
                    node.node
                )
    for (step_name, note), names in broken.items():
        yield f"the job would fail on {few(names)} at {step_name}: {note}"


def _quorum(before: State, job: Job, voters: Mapping[str, str]) -> Iterator[str]:
    if job.kind is JobKind.VERIFY or not voters:
        return
    hosts = {host: name for name, host in voters.items() if not _is_loopback(host)}
    survived = (len(voters) - 1) // 2
    for number, wave in enumerate(waves_of(job), start=1):
        hit = sorted(
            hosts[address] for name in wave if (address := before.nodes[name].endpoint.address) in hosts
        )
        if len(hit) > survived:
            yield (
                f"wave {number} works on {len(hit)} of hamgr's {len(voters)} voters at once ({few(hit)});"
                " if they stop together, hamgr has no quorum: make the waves smaller"
            )
        elif hit:
            yield f"wave {number} works on the machine of voter {few(hit)}"


def _minimums(before: State, job: Job) -> Iterator[str]:
    if job.kind is not JobKind.UPGRADE:  # the others are refused when they would leave too few
        return
    working = requirements.at_work(before)
    there = requirements.breaches(before, working)
    told: set[str] = set()
    for number, wave in enumerate(waves_of(job), start=1):
        rest = working.copy()
        for name in wave:
            node = before.nodes[name]
            if requirements.serves(node):
                rest[Member(role=node.role, bundle=node.bundle)] -= 1
        for (role, required), (have, need) in requirements.breaches(before, rest).items():
            if (role, required) in there and have >= there[role, required][0]:
                continue
            sentence = f"role {role} needs {need} x {required} at work and would have {max(have, 0)}"
            if sentence not in told:
                told.add(sentence)
                yield f"if all of wave {number} stopped at once, {sentence}; {_what_then(job)}"


def _what_then(job: Job) -> str:
    if job.rollout.below_minimum:
        return "this job accepts that"
    return "so its nodes take turns, which takes longer"


def _steps(seen: Sequence[NodeSeen]) -> Iterator[str]:
    once: dict[str, list[str]] = {}
    reboots: list[str] = []
    for node in seen:
        steps = [step.step for step in node.steps if not step.proof]
        for step in steps:
            if step.spec.step_class is StepClass.ONCE:
                once.setdefault(f"{step.component}: {step.spec.name}", []).append(node.node)
        if any(step.spec.reboot for step in steps):
            reboots.append(node.node)
    if reboots:
        yield f"{few(reboots)} would be rebooted"
    for name, nodes in once.items():
        yield (
            f"step {name} runs once on {few(nodes)}: if it is interrupted, it is not repeated,"
            " and somebody has to look"
        )


def _nodes(before: State, job: Job) -> Iterator[str]:
    said: dict[str, list[str]] = {}
    for task in job.tasks.values():
        node = before.nodes[task.node]
        if task.state is TaskState.SKIPPED:
            said.setdefault(f"would be skipped: {task.error}", []).append(node.name)
            continue
        if node.job:
            holder = f"locked by {node.job}, a {before.jobs[node.job].kind}, and would wait for that"
            said.setdefault(holder, []).append(node.name)
        if node.presence is not Presence.REACHABLE:
            why = f": {node.presence_reason}" if node.presence_reason else ""
            said.setdefault(f"{node.presence}{why}", []).append(node.name)
        if node.maintenance is not None:
            said.setdefault(f"in maintenance: {node.maintenance.reason}", []).append(node.name)
    for what, names in said.items():
        yield f"{few(names)}: {what}"


def _not_looked(seen: Sequence[NodeSeen]) -> Iterator[str]:
    blind = [node.node for node in seen if node.error]
    if blind:
        yield f"nobody could look at {few(blind)}, so what would change there is not known"


def _is_loopback(host: str) -> bool:
    """Say whether an address means another machine on each machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""What must hold in every world, judged by the machines' own evidence and never by what the product says.

While it runs: the state machine's invariants after each entry; each result is what really happened; nothing
is launched that was recorded before, twice, beside another, under an older epoch, or after it had passed.
At the end: every job has ended, nothing is owed, no worker is left, replicas that replay the log agree, and
what is in service is really configured and was really verified after the last work.
"""

from collections.abc import Iterator
from dataclasses import replace

from backends.ports import AttemptKey
from hamgr.jobs.worker import node_job
from statemachine import codec, requests
from statemachine.commands import Command, FinishAttempt
from statemachine.jobs import work
from statemachine.lifecycle import IN_SERVICE
from statemachine.machine import apply_entry
from statemachine.model import Node, Result, State
from statemachine.outcomes import Accepted, Outcome
from statemachine.words import Ending, Verb
from tests.simulation.nodes import LOST, Launch, Machine
from tests.statemachine.invariants import check_step

MAY_COME_LATE = (Ending.UNREACHABLE, Ending.REFUSED)
"""After these nobody knows what the node was told; the node is quarantined unless nothing was changed."""


class Records:
    """The results that the log has accepted, held against the evidence."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, AttemptKey], Result] = {}

    def launched(self, machine: Machine, launch: Launch) -> Iterator[str]:
        """Judge a launch by what was recorded before it."""
        result = self._known.get((machine.machine_id, launch.key))
        if result is not None and result.ending not in MAY_COME_LATE:
            yield f"{machine.name}: {launch.key} was launched after it was recorded as {result.ending}"

    def entry(
        self, before: State, command: Command, outcome: Outcome, machine: Machine | None, now: float
    ) -> Iterator[str]:
        """Judge an entry of the log."""
        if not isinstance(command, FinishAttempt) or not isinstance(outcome, Accepted) or machine is None:
            return
        claim = before.jobs[command.job].tasks[command.node].epoch
        if command.epoch != claim:
            yield f"{machine.name}: a report under epoch {command.epoch} was accepted, the claim is {claim}"
        result = command.result
        key = AttemptKey(job=node_job(before, command.job), step=result.step, attempt=result.attempt)
        known = self._known.setdefault((machine.machine_id, key), result)
        if known is not result and known != result:
            yield f"{machine.name}: {key} was recorded twice: {known.ending}, {result.ending}"
        looked = result.ending is Ending.EXITED and machine.saw(key, result.exit_code, now=now)
        if not looked and (problem := _untrue(result, machine.find(key), now)):
            yield f"{machine.name}: {key} is recorded as {result.ending} {result.exit_code}, but {problem}"
        same_key = machine.host_key == before.nodes[command.node].host_key
        if result.ending is Ending.REFUSED and machine.find(key) and same_key:
            yield f"{machine.name}: {key} is recorded as refused ({result.error}), but it was launched"


def _untrue(result: Result, launch: Launch | None, now: float) -> str:
    """Return what really happened, if `result` says something else."""
    running = launch is not None and launch.ends_at > now
    if result.ending is Ending.EXITED:
        if launch is None:
            return "it was never launched"
        if running or launch.end == LOST or launch.exit_code != result.exit_code:
            return f"it ended {launch.end} with {launch.exit_code} (running: {running})"
    elif result.ending is Ending.LOST:
        if launch is None or launch.end != LOST:
            return f"it is not lost: {launch}"
    elif result.ending in (Ending.TIMED_OUT, Ending.CANCELLED, Ending.NOT_RUN):
        if running:
            return "it is running"
        if launch is not None and (launch.passed(now) or result.ending is Ending.NOT_RUN):
            return f"it ended {launch.end} with {launch.exit_code}"
    return ""


def invariants(before: State, command: Command, after: State, outcome: Outcome) -> Iterator[str]:
    """Judge one entry by the rules of the state machine; one that came twice must change nothing."""
    if requests.recall(before, command.request_id) is not None:
        if replace(after, index=before.index) != before:
            yield f"entry {after.index} {type(command).__name__} came again and changed something"
        return
    try:
        check_step(before, command, after, outcome)
    except AssertionError as error:
        yield f"entry {after.index} {type(command).__name__}: {error}"


def at_rest(state: State) -> Iterator[str]:
    """Judge the state after everything had time to end."""
    for job in state.running:
        yield f"job {job} has not ended: {state.jobs[job]}"
    if due := work.pending(state):
        yield f"still owed: {due}"


def replay(entries: list[bytes], final: State) -> Iterator[str]:
    """Apply the log's bytes once more, through a snapshot in the middle, as another replica would."""
    state = State()
    for number, entry in enumerate(entries):
        state, _, bug = apply_entry(state, entry)
        if bug is not None:
            yield f"entry {number + 1} raised {bug!r}"
        if number == len(entries) // 2:
            state = codec.decode_state(codec.encode_state(state))
    if codec.state_digest(state) != codec.state_digest(final):
        yield "a replica that replays the log ends in another state"


def in_service(state: State, machines: dict[str, Machine], now: float) -> Iterator[str]:
    """Judge what is in service by what is really on the machines."""
    for node in state.nodes.values():
        machine = machines.get(node.machine_id)
        if node.status in IN_SERVICE and machine is not None:
            yield from _serving(state, node, machine, now)


def _serving(state: State, node: Node, machine: Machine, now: float) -> Iterator[str]:
    manifest = state.bundles[node.bundle].manifest
    worked = max((launch.ends_at for launch in machine.evidence if launch.order.works), default=now)
    for name in manifest.roles[node.role].components:
        if not machine.configured(name, node.bundle, manifest, now=now):
            yield f"{node.name} is {node.status} with {node.bundle[-2:]}, and {name} is not really there"
        for spec in manifest.components[name].verbs[Verb.VERIFY]:
            if not any(
                (launch.order.component, launch.order.verb, launch.order.step)
                == (name, Verb.VERIFY, spec.name)
                and launch.order.bundle == node.bundle
                and launch.at >= worked
                and launch.passed(now)
                for launch in machine.evidence
            ):
                yield f"{node.name} is {node.status}, and {name}/{spec.name} did not pass after its last work"

"""The one function that turns a command into the next state; pure, total, the same on every replica.

1. `apply` answers an `Outcome` to every command and never raises; a rejected command changes nothing but
   the index and the memory of requests.
2. A request id that was answered is answered again with the same outcome, and nothing happens twice.
3. `apply_entry` is the one door through which bytes of the log come in. Should a bug make a rule raise,
   every replica answers `INTERNAL` at the same index, and goes on.
"""

from collections.abc import Mapping
from typing import assert_never

from statemachine import codec, configuration, requests, words
from statemachine.audit_commands import RecordExec
from statemachine.cluster import electorate, tokens, upgrades
from statemachine.cluster_commands import (
    MakeJoinToken,
    RedeemJoinToken,
    ReportReplica,
    RevokeJoinToken,
    SetElectorate,
    SetReplica,
)
from statemachine.commands import (
    AddNode,
    ApprovePlan,
    Barrier,
    CancelJob,
    ClaimTask,
    Command,
    CommitBundle,
    EditNode,
    ExpireMaintenance,
    FinishAttempt,
    ForgetNode,
    ForgiveDebt,
    FoundCluster,
    PauseJob,
    PayDebt,
    PromoteJob,
    RecordPlan,
    ReplaceNode,
    ReportPresence,
    ResumeJob,
    RetryJob,
    RevertJob,
    ReviewJob,
    SetGlobals,
    SetMaintenance,
    StartAttempt,
    SubmitJob,
)
from statemachine.copying import replace
from statemachine.discovery_commands import ReportSighting, ReportSilence, SubmitDiscovery
from statemachine.draft import Draft
from statemachine.jobs import approvals, audit, control, payments, replacing, schedules, submission, tasks
from statemachine.model import Node, State
from statemachine.nodes import inventory, maintenance, presences
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.presence_commands import ReportPresences
from statemachine.rollouts import waves
from statemachine.schedule_commands import (
    DropSchedule,
    FireSchedule,
    PauseSchedule,
    PutSchedule,
    ReplanSchedule,
)
from statemachine.upgrade_commands import BeginUpgrade, GiveUpgradeTurn, ReportUpgrade, StopUpgrade
from statemachine.words import NodeName


def apply(state: State, command: Command) -> tuple[State, Outcome]:
    """Return the state after `command`, and the answer to whoever proposed it."""
    if not words.REQUEST_ID.match(command.request_id):
        return _skip(state), inventory.invalid(f"{command.request_id!r} cannot be a request id")
    if isinstance(command, Barrier):
        return _skip(state), Accepted(index=state.index + 1)
    known = requests.recall(state, command.request_id)
    if known is not None:
        if known.fingerprint != requests.fingerprint(command):
            return _skip(state), Rejected(
                reason=Reason.REQUEST_REUSED,
                message=f"request id {command.request_id} was used before for something else",
                offenders=(command.request_id,),
                hint="make a new id for every new request",
            )
        return _skip(state), codec.decode_outcome(known.outcome)
    draft = Draft(state, command)
    outcome = _obey(draft, command)
    memory = requests.remember(state, command, outcome)
    if isinstance(outcome, Rejected):
        return replace(state, index=state.index + 1, requests=memory), outcome
    return draft.finish(requests=memory), outcome


def apply_entry(state: State, entry: bytes) -> tuple[State, Outcome, Exception | None]:
    """Apply an entry of the log; return the state, the outcome, and the bug that was met, if any."""
    try:
        return *apply(state, codec.decode_command(entry)), None
    except Exception as error:  # noqa: BLE001 - the one door: replicas must go on alike after a bug
        outcome = Rejected(
            reason=Reason.INTERNAL,
            message=f"the command could not be applied: {type(error).__name__}",
            hint="report it with the replicas' logs; the cluster goes on without it",
        )
        return _skip(state), outcome, error


def _skip(state: State) -> State:
    return replace(state, index=state.index + 1)


def _obey(draft: Draft, command: Command) -> Outcome:  # noqa: PLR0912 - one arm per command, nothing else
    match command:
        case FoundCluster():
            return configuration.found_cluster(draft, command)
        case Barrier():
            return Accepted(index=draft.index)
        case AddNode():
            return inventory.add_node(draft, command)
        case EditNode():
            return inventory.edit_node(draft, command)
        case SetMaintenance():
            return _then_settle(draft, maintenance.set_maintenance(draft, command))
        case ExpireMaintenance():
            return _then_settle(draft, maintenance.expire_maintenance(draft, command))
        case ForgetNode():
            return _then_settle(draft, inventory.forget_node(draft, command))
        case ReportPresence():
            return _then_settle(draft, inventory.report_presence(draft, command))
        case ReportPresences():
            return _then_settle(draft, presences.report_presences(draft, command))
        case PayDebt():
            return payments.pay_debt(draft, command)
        case ForgiveDebt():
            return _then_settle(draft, payments.forgive_debt(draft, command))
        case SetGlobals():
            return configuration.set_globals(draft, command)
        case CommitBundle():
            return configuration.commit_bundle(draft, command)
        case SubmitJob():
            return approvals.submit(draft, command)
        case ReplaceNode():
            return replacing.replace_node(draft, command)
        case RecordPlan():
            return approvals.record_plan(draft, command)
        case ApprovePlan():
            return approvals.approve_plan(draft, command)
        case PutSchedule() | DropSchedule() | PauseSchedule() | FireSchedule() | ReplanSchedule():
            return schedules.obey(draft, command)
        case SubmitDiscovery():
            return submission.submit_discovery(draft, command)
        case CancelJob():
            return submission.cancel_job(draft, command)
        case PauseJob() | ResumeJob() | PromoteJob() | RetryJob() | RevertJob() | ReviewJob():
            return control.obey(draft, command)
        case ReportSighting():
            return tasks.report_sighting(draft, command)
        case ReportSilence():
            return tasks.report_silence(draft, command)
        case ClaimTask():
            return _then_settle(draft, tasks.claim_task(draft, command))
        case StartAttempt():
            return _then_settle(draft, tasks.start_attempt(draft, command))
        case FinishAttempt():
            return _then_settle(draft, tasks.finish_attempt(draft, command))
        case RecordExec():
            return audit.record_exec(draft, command)
        case MakeJoinToken() | RevokeJoinToken() | RedeemJoinToken():
            return tokens.obey(draft, command)
        case SetElectorate() | SetReplica() | ReportReplica():
            return electorate.obey(draft, command)
        case BeginUpgrade() | StopUpgrade() | GiveUpgradeTurn() | ReportUpgrade():
            return upgrades.obey(draft, command)
        case _:
            assert_never(command)


def _then_settle(draft: Draft, outcome: Outcome) -> Outcome:
    """Settle the other jobs too, when what nodes serve as has changed: their tasks may wait for that."""
    if isinstance(outcome, Accepted) and _service_changed(draft):
        for job_id in draft.running:
            waves.settle(draft, job_id)
    return outcome


def _service_changed(draft: Draft) -> bool:
    return any(
        _service(draft.nodes, name) != _service(draft.before.nodes, name) for name in draft.changed_nodes
    )


def _service(nodes: Mapping[NodeName, Node], name: NodeName) -> tuple[object, ...]:
    node = nodes.get(name)
    if node is None:
        return ()
    return node.status, node.maintenance, node.role, node.bundle, node.presence, node.job, node.debt is None

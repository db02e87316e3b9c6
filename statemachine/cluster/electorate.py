"""Rules for what operators wish of the replicas, and for what is told of changes that were made.

1. A wish is kept for a name, whether or not a replica has it now: it may be away.
2. A wish that says nothing any more is dropped, so that old names leave nothing behind.
"""

import re

from statemachine.cluster_commands import ReportReplica, SetElectorate, SetReplica
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.electorate import DOMAIN_CHARS_MAX, REPLICAS_MAX, REST_S_MAX, TARGETS, ReplicaWish
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
_DOMAIN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{DOMAIN_CHARS_MAX - 1}}}\Z")
_KIND = re.compile(r"[a-z][a-z-]{0,30}\Z")


def obey(draft: Draft, command: SetElectorate | SetReplica | ReportReplica) -> Outcome:
    match command:
        case SetElectorate():
            return set_target(draft, command)
        case SetReplica():
            return set_replica(draft, command)
        case ReportReplica():
            return report(draft, command)


def set_target(draft: Draft, command: SetElectorate) -> Outcome:
    if command.target not in TARGETS:
        return invalid(f"there can be {', '.join(map(str, TARGETS))} voters, but not {command.target}")
    before = draft.before.electorate
    if command.target != before.target:
        draft.set(electorate=replace(before, target=command.target, index=draft.index))
        draft.event("cluster.target", "", f"{command.target} voters are wished for, before {before.target}")
    return Accepted(index=draft.index)


def set_replica(draft: Draft, command: SetReplica) -> Outcome:
    if not _NAME.match(command.name):
        return invalid(f"{command.name!a:.80} cannot be a replica's name", command.name)
    if command.domain and not _DOMAIN.match(command.domain):
        return invalid(f"{command.domain!a:.80} cannot be the name of a failure domain", command.name)
    if command.rest_until and not 0 < command.rest_until - command.at <= REST_S_MAX:
        return invalid(f"a replica can be away as planned for at most {REST_S_MAX / 86_400:g} days")
    electorate = draft.before.electorate
    before = electorate.replicas.get(command.name, ReplicaWish())
    said = {
        name: getattr(command, name)
        for name in ("domain", "standby", "rest_until", "rest_reason")
        if getattr(command, name) is not None
    }
    after = replace(before, **said)
    replicas = {name: wish for name, wish in electorate.replicas.items() if name != command.name}
    if after != ReplicaWish():
        if len(replicas) >= REPLICAS_MAX:
            return Rejected(
                reason=Reason.LIMIT,
                message=f"something is wished of {REPLICAS_MAX} replicas already",
                hint="clear the wishes of those that are gone",
            )
        replicas[command.name] = after
    if after != before:
        draft.set(electorate=replace(electorate, replicas=replicas, index=draft.index))
        draft.event("replica.wished", command.name, _sentence(command.name, before, after))
    return Accepted(index=draft.index, ref=command.name)


def report(draft: Draft, command: ReportReplica) -> Outcome:
    if not _NAME.match(command.name) or not _KIND.match(command.kind):
        return invalid(f"{command.name!a:.80} is no replica, or {command.kind!a:.80} no news of one")
    draft.event(f"replica.{command.kind}", command.name, command.message)
    return Accepted(index=draft.index, ref=command.name)


def _sentence(name: str, before: ReplicaWish, after: ReplicaWish) -> str:
    parts = []
    if after.domain != before.domain:
        where = f"is in the failure domain {after.domain}" if after.domain else "is in no failure domain"
        parts.append(where)
    if after.standby != before.standby:
        parts.append("stays a standby" if after.standby else "may vote")
    if after.rest_until != before.rest_until:
        parts.append("is away as planned" if after.rest_until else "is back as planned")
    return f"{name} {' and '.join(parts) or 'is as before'}"

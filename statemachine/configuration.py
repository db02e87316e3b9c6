"""Rules for the cluster's configuration: its id, global variables and bundles."""

import re

from statemachine import words
from statemachine.commands import CommitBundle, FoundCluster, SetGlobals
from statemachine.draft import Draft
from statemachine.manifest import Bundle
from statemachine.model import BUNDLES_MAX, State
from statemachine.nodes.inventory import invalid
from statemachine.nodes.variables import merged
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import Digest

CLUSTER_ID = re.compile(r"[a-z0-9]{8,32}\Z")


def found_cluster(draft: Draft, command: FoundCluster) -> Outcome:
    if not CLUSTER_ID.match(command.cluster):
        return invalid(f"{command.cluster!r} cannot be a cluster id", command.cluster)
    if not draft.before.cluster:
        draft.set(cluster=command.cluster)
        draft.event("cluster.founded", command.cluster, "the cluster has its id")
    return Accepted(index=draft.index, ref=draft.before.cluster or command.cluster)


def set_globals(draft: Draft, command: SetGlobals) -> Outcome:
    seen = draft.before.globals_index
    if command.if_index is not None and command.if_index != seen:
        return Rejected(
            reason=Reason.CHANGED,
            message=f"the global variables are at index {seen}, not {command.if_index}",
            offenders=("globals",),
            hint="read them again and decide anew",
        )
    draft.set(globals=merged(draft.before.globals, command.variables), globals_index=draft.index)
    draft.event("config.globals", "globals", "global variables changed")
    return Accepted(index=draft.index)


def commit_bundle(draft: Draft, command: CommitBundle) -> Outcome:
    if not words.DIGEST.match(command.digest):
        return invalid(f"{command.digest!r} is not a bundle's digest", command.digest)
    missing = sorted(
        f"{role.name}/{component}"
        for role in command.manifest.roles.values()
        for component in role.components
        if component not in command.manifest.components
    )
    if missing:
        return invalid(f"roles name components that the bundle lacks: {', '.join(missing)}", *missing)
    bundles = dict(draft.before.bundles)
    if command.digest not in bundles:
        _make_room(bundles, draft.before)
        if len(bundles) >= BUNDLES_MAX:
            return Rejected(
                reason=Reason.LIMIT,
                message=f"all {BUNDLES_MAX} bundles are in use by nodes or running jobs",
                hint="bring nodes to fewer versions first",
            )
        bundles[command.digest] = Bundle(
            digest=command.digest,
            manifest=command.manifest,
            size_bytes=command.size_bytes,
            message=command.message,
            actor=command.actor,
            at=command.at,
            index=draft.index,
        )
    draft.set(bundles=bundles, current_bundle=command.digest)
    draft.event("config.bundle", command.digest, command.message or "a bundle became the current one")
    return Accepted(index=draft.index, ref=command.digest)


def _make_room(bundles: dict[Digest, Bundle], state: State) -> None:
    """Drop the oldest bundles that no node, running job or `current_bundle` needs, until one more fits."""
    used = {state.current_bundle}
    used |= {digest for node in state.nodes.values() for digest in (node.bundle, node.last_good)}
    used |= {node.debt.bundle for node in state.nodes.values() if node.debt is not None}
    for job in (state.jobs[job] for job in state.running):
        used |= {job.bundle}
        used |= {digest for task in job.tasks.values() for digest in (task.bundle, task.bundle_before)}
    for digest in [digest for digest in bundles if digest not in used]:
        if len(bundles) < BUNDLES_MAX:
            return
        del bundles[digest]

"""Generations: a cluster that begins again from a backup, or from what survivors of a lost majority had.

What the new generation knows may be of the past: later entries were acknowledged and are lost, and nodes
remember what was done under them. So:

1. Epochs are raised beyond all that the lost entries can have claimed: nodes refuse whoever is left of the
   old cluster, and believe the new one.
2. Names of jobs are new ones (`j1730443-17`): no record that a node keeps is taken for that of another job.
3. Indexes are raised too: an ETag or a cursor that was read from a lost entry never fits a new one.
4. Nothing begins by itself: schedules are paused, and debts wait for an operator, since what they would bring
   may be older than what is there. An upgrade of hamgr is stopped.
5. Jobs that were under way wait until an operator resumes or cancels them. Resumed, they ask the nodes first,
   as after any change of the leader, so that what was done is found and not done again.
6. Two clusters that begin from one backup, or from one survivor's folder, are strangers to each other (see
   `docs/decisions/0025`): a part of their epochs, names of jobs and indexes is drawn by lot from their ids. A
   node that obeyed the one with the higher lot refuses the other one. A later generation has higher epochs
   than any earlier one, whatever the lots.
"""

import hashlib

from statemachine.cluster import upgrades
from statemachine.commands import Barrier
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.model import EPOCH_MAX, ERROR_CHARS_MAX, State
from statemachine.rollout import HoldKind
from statemachine.rollouts import gates
from statemachine.words import RequestId

EPOCHS = 1 << 32
"""The epochs of one generation; the next one begins at the next multiple, and a lot above it."""
LOTS = 1 << 30
"""So many lots are there; the least is `LOTS`, too. No cluster makes so many claims on one node."""
INDEXES = 1 << 32
STEP = 1_000_000
"""Generations are numbered `count * STEP` and a part of the lot; those of older versions were bare counts."""
GENERATIONS_MAX = EPOCH_MAX // EPOCHS - 1


class TooManyGenerations(ValueError):
    """The epochs cannot be raised once more."""


def count_of(generation: int) -> int:
    """Return how often a cluster of this generation began again."""
    return generation // STEP if generation >= STEP else generation


def begin(state: State, *, cluster: str, source: str, at: float, actor: str) -> State:
    """Return `state` as the next generation begins with it.

    Args:
        cluster: The id of the cluster that begins; no other one has it.
        source: What it is from, for people: "recovered from r2", say.

    Raises:
        TooManyGenerations: After `GENERATIONS_MAX`.
    """
    count = count_of(state.generation) + 1
    if count > GENERATIONS_MAX:
        raise TooManyGenerations(f"a cluster can begin again {GENERATIONS_MAX} times at most")
    drawn = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:16], "big")
    generation, lot = count * STEP + drawn // LOTS % STEP, LOTS + drawn % LOTS
    draft = Draft(state, Barrier(request_id=RequestId("generation"), at=at, actor=actor))
    draft.index = state.index + INDEXES + lot
    for node in state.nodes.values():
        debt = node.debt and replace(node.debt, error=node.debt.error or source[:ERROR_CHARS_MAX])
        epoch = (node.epoch // EPOCHS + 1) * EPOCHS + lot
        draft.put_node(replace(node, epoch=epoch, debt=debt))
    schedules = {
        name: one if one.paused else replace(one, paused=source[:ERROR_CHARS_MAX], index=draft.index)
        for name, one in state.schedules.items()
    }
    for job in state.running:
        gates.hold(draft, job, HoldKind.REBORN, f"{source}; what it did since is not known here")
    draft.set(generation=generation, schedules=schedules)
    if state.upgrade is not None:
        why = f"{source}; what became of it is not known here"[:ERROR_CHARS_MAX]
        draft.set(upgrade=upgrades.abandoned(state.upgrade, why, at=at, index=draft.index))
    draft.event("cluster.reborn", state.cluster, f"generation {generation}: {source}")
    return draft.finish(requests=state.requests)

"""Six nodes in three racks, their upgrade with any strategy, and how to look at it."""

from typing import Any

from statemachine.commands import EditNode
from statemachine.rollout import HoldKind, Rollout
from statemachine.words import JobKind, TaskState
from tests.statemachine.fleet import Fleet, component, manifest

NODES = tuple(f"n{i}" for i in range(6))


def six_nodes() -> Fleet:
    """Return six nodes in service under bundle 1, in racks a, b and c; bundle 2 is the current one."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(*NODES)
    for place, node in enumerate(NODES):
        fleet.accept(EditNode, node=node, labels={"rack": "abc"[place % 3]})
    fleet.bundle(2, manifest(component("app")))
    return fleet


def upgrade(fleet: Fleet, *, max_parallel: int = 2, max_failed: int | None = None, **rollout: Any) -> str:
    return fleet.submit(
        JobKind.UPGRADE, *NODES, max_parallel=max_parallel, max_failed=max_failed, rollout=Rollout(**rollout)
    )


def holds(fleet: Fleet, job: str) -> list[HoldKind]:
    return [hold.kind for hold in fleet.job(job).holds]


def waves(fleet: Fleet, job: str) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for task in fleet.job(job).tasks.values():
        found.setdefault(task.wave, []).append(task.node)
    return list(found.values())


def states(fleet: Fleet, job: str) -> list[TaskState]:
    return [fleet.task(job, node).state for node in fleet.job(job).tasks]

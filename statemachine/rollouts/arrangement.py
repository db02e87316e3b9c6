"""In which waves a job takes its nodes.

1. A wave has nodes of one failure domain only; the canaries are waves of their own.
"""

from collections.abc import Sequence

from statemachine.model import Node, Task
from statemachine.rollout import Rollout
from statemachine.words import NodeName


def arranged(nodes: Sequence[Node], rollout: Rollout, parallel: int) -> dict[NodeName, Task]:
    """Return the tasks of a job on `nodes`, in their order, each with its wave."""
    tasks: dict[NodeName, Task] = {}
    wave = size = 0
    before: str | None = None
    for place, node in enumerate(nodes):
        domain = node.labels.get(rollout.domain) if rollout.domain else None
        if place and (size == parallel or place == rollout.canary or domain != before):
            wave, size = wave + 1, 0
        tasks[node.name] = Task(node=node.name, wave=wave)
        size += 1
        before = domain
    return tasks

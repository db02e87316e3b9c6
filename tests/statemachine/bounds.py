"""Everything that grows has a bound, and nothing ever exceeds it (statemachine.model, rule 3)."""

from collections.abc import Iterator

from statemachine.model import (
    BUNDLES_MAX,
    ERROR_CHARS_MAX,
    EVENTS_MAX,
    HISTORY_MAX,
    JOBS_ENDED_MAX,
    JOBS_RUNNING_MAX,
    NODES_MAX,
    OUTPUT_TAIL_BYTES_MAX,
    RESULTS_MAX,
    TASKS_MAX,
    TOMBSTONES_MAX,
    State,
)
from statemachine.requests import GENERATION_SIZE, GENERATIONS_MAX


def over_bounds(state: State) -> Iterator[str]:
    """Yield what is larger or longer than the model allows."""
    sizes = {
        "nodes": (len(state.nodes), NODES_MAX),
        "bundles": (len(state.bundles), BUNDLES_MAX),
        "tombstones": (len(state.tombstones), TOMBSTONES_MAX),
        "events": (len(state.events), EVENTS_MAX),
        "running jobs": (len(state.running), JOBS_RUNNING_MAX),
        "ended jobs": (len(state.jobs) - len(state.running), JOBS_ENDED_MAX),
        "generations": (len(state.requests), GENERATIONS_MAX),
        "a generation": (max(map(len, state.requests), default=0), GENERATION_SIZE),
        "history": (max((len(node.history) for node in state.nodes.values()), default=0), HISTORY_MAX),
        "tasks": (max((len(job.tasks) for job in state.jobs.values()), default=0), TASKS_MAX),
    }
    for what, (size, size_max) in sizes.items():
        if size > size_max:
            yield f"{what}: {size} are more than {size_max}"
    texts = [node.error for node in state.nodes.values()]
    texts += [node.presence_reason for node in state.nodes.values()]
    texts += [event.message for event in state.events]
    for job in state.jobs.values():
        for task in job.tasks.values():
            texts += [task.error, task.failure, *(result.error for result in task.results)]
            if len(task.results) > RESULTS_MAX:
                yield f"{job.id} on {task.node}: {len(task.results)} results"
            if any(len(result.output_tail.encode()) > OUTPUT_TAIL_BYTES_MAX for result in task.results):
                yield f"{job.id} on {task.node}: an output tail is too long"
    if any(len(text) > ERROR_CHARS_MAX for text in texts):
        yield f"a text is longer than {ERROR_CHARS_MAX} characters: {max(texts, key=len)[:80]}..."

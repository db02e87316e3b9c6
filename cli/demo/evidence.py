"""What the nodes themselves have recorded, held against what the cluster says.

Each node keeps two files that are only ever appended to: `launches`, written by the runner before a script
begins, and `hamgr-effects.log`, written by a step of the bundle when it really does its work.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

LAUNCHES = Path("var/lib/hamgr/launches")
EFFECTS = Path("var/log/hamgr-effects.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Counts over all nodes.

    Attributes:
        launches: Scripts that really began.
        repeated: Attempts that began more than once; the promise is none.
        after_success: Launches of a step that had already passed; the promise is none.
        out_of_order: Launches by an older leader after a newer one; the promise is none.
        unrecorded: Passed results in the cluster without a launch on the node; the promise is none.
        effects: Lines that the bundle's own step has written, one for each job and node.
        effects_repeated: Lines beyond the first for the same job, step and node; the promise is none.
    """

    launches: int
    repeated: int
    after_success: int
    out_of_order: int
    unrecorded: int
    effects: int
    effects_repeated: int

    @property
    def clean(self) -> bool:
        broken = self.repeated + self.after_success + self.out_of_order + self.unrecorded
        return broken + self.effects_repeated == 0 and self.launches > 0 and self.effects > 0


def gather(roots: Mapping[str, Path], jobs: Sequence[Mapping[str, Any]]) -> Evidence:
    """Read the files of all nodes, whose folders are `roots`, and compare them with the jobs' results."""
    passed = {
        (task["node"], job["id"], result["step"]): result["attempt"]
        for job in jobs
        for task in job["tasks"]
        for result in task.get("results", ())
        if result["passed"]
    }
    begun: Counter[tuple[str, str, str, int]] = Counter()
    effects: Counter[tuple[str, str, str]] = Counter()
    out_of_order = 0
    for node, root in roots.items():
        epochs = []
        for epoch, job, step, attempt in _lines(root / LAUNCHES, 4):
            epochs.append(int(epoch))
            begun[node, _job(job), step, int(attempt)] += 1
        out_of_order += sum(later < earlier for earlier, later in pairwise(epochs))
        effects.update((node, job, step) for job, step, _attempt in _lines(root / EFFECTS, 3))
    return Evidence(
        launches=begun.total(),
        repeated=sum(count - 1 for count in begun.values()),
        after_success=sum(
            attempt > passed.get((node, job, step), attempt) for node, job, step, attempt in begun
        ),
        out_of_order=out_of_order,
        unrecorded=sum((*key, attempt) not in begun for key, attempt in passed.items()),
        effects=effects.total(),
        effects_repeated=sum(count - 1 for count in effects.values()),
    )


def _job(name: str) -> str:
    """Return the cluster's name of a job, whose name on the node begins with the cluster's id."""
    return name.split("-", 1)[1]


def _lines(path: Path, words: int) -> Iterable[list[str]]:
    if not path.exists():
        return []
    lines = [text.split() for text in path.read_text().splitlines()]
    return [line for line in lines if len(line) == words]

"""What a command costs a replica: apply, and the leader's look at what is owed, in a large inventory.

One job of a thousand nodes is driven for a while, four tasks at a time, through the door by which the log's
entries come in. Times are processor time of this thread.
"""

import argparse
import json
import statistics
from collections.abc import Sequence

from statemachine.commands import ClaimTask, SubmitJob
from statemachine.jobs import work
from statemachine.model import NODES_MAX
from statemachine.words import JobKind
from tests.statemachine.test_cost import JOB_SIZE, Stopwatch, inventory

TASKS_AT_ONCE = 4


def measured(nodes: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call by kind."""
    watch = Stopwatch(inventory(nodes))
    chosen = tuple(watch.state.nodes)[:JOB_SIZE]
    watch.send(SubmitJob, kind=JobKind.COMMISSION, nodes=chosen, role="master", max_parallel=len(chosen))
    for _ in range(rounds):
        for due in watch.pending()[:TASKS_AT_ONCE]:
            epoch = watch.send(ClaimTask, job=due.job, node=due.node, claimant="r/1").epoch
            while work.step_due(watch.state, due.job, due.node, epoch):
                watch.step(due, epoch)
    return watch.times


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench apply", description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES_MAX)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    arguments = parser.parse_args(words)
    times = measured(arguments.nodes, arguments.rounds)
    micros = {
        name: {"count": len(taken), "median_us": statistics.median(taken) * 1e6, "max_us": max(taken) * 1e6}
        for name, taken in times.items()
    }
    if arguments.json:
        print(json.dumps({"nodes": arguments.nodes, "calls": micros}))
        return 0
    print(f"{arguments.nodes} nodes, one job of {min(JOB_SIZE, arguments.nodes)}; processor time in us")
    print(f"{'':16}{'calls':>8}{'median':>10}{'worst':>10}")
    for name, one in micros.items():
        print(f"{name:16}{one['count']:8}{one['median_us']:10.0f}{one['max_us']:10.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""From SIGKILL of the leader to the next acknowledged write, with default timers, beside etcd's.

The client knows the addresses of all three members and nothing else. It asks all of them at once, gives
each a short time to answer, and asks again at once: what it measures is the cluster, not its own patience.
Sides take turns; between two trials the one that was killed comes back and catches up.
"""

import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.command import parsed_beside_etcd, parser_of, told
from tests.bench.consensus_client import Address, Refused, ask, run
from tests.bench.consensus_sides import Side, sides

PATIENCE_S = 0.2
"""How long one member has to answer before it is asked again."""
PAUSE_S = 0.01
"""After a refusal or a closed port; as short as the timers' own grain."""
TRIAL_S_MAX = 30.0
CALM_S = (0.5, 1.0)
"""Between a cluster that is whole and the kill; random, so that no phase of a heartbeat is preferred."""
GOAL_MEDIAN_S, GOAL_MAX_S, GOAL_SHARE = 0.4, 1.0, 1 / 3


def measured(directory: Path, *, trials: int, alone: bool) -> Mapping[str, Sequence[float]]:
    """Return the seconds of every trial by side."""
    found: dict[str, list[float]] = {}
    with sides(directory, alone=alone) as all_sides:
        numbers = itertools.count()
        for side in all_sides.values():
            side.prepare(1)
        for _ in range(trials):
            for name, side in all_sides.items():
                found.setdefault(name, []).append(_trial(side, numbers))
    return found


def _trial(side: Side, numbers: Iterator[int]) -> float:
    side.wait_until_caught_up()
    time.sleep(random.uniform(*CALM_S))
    leader = side.leader()
    assert leader, f"{side.name} has no leader"
    took_s = run(_kill_and_write(side, leader, side.write(0, next(numbers), "v" * 88)))
    side.revive(leader)
    return took_s


async def _kill_and_write(side: Side, leader: str, request: bytes) -> float:
    """Return the seconds until any member acknowledged the write, which all of them are asked for."""
    begun_s = time.monotonic()
    side.kill(leader)
    asking = [asyncio.create_task(_insist(side.address(member), request)) for member in side.members]
    done, rest = await asyncio.wait(asking, timeout=TRIAL_S_MAX, return_when=asyncio.FIRST_COMPLETED)
    took_s = time.monotonic() - begun_s
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    assert done, f"{side.name} acknowledged nothing within {TRIAL_S_MAX:g} s"
    for task in done:
        task.result()
    return took_s


async def _insist(address: Address, request: bytes) -> None:
    """Ask one member until it acknowledges; the same request each time, so that it takes effect once."""
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ask(address, request)
                return
        except TimeoutError:
            continue
        except (Refused, OSError):
            await asyncio.sleep(PAUSE_S)


def table(found: Mapping[str, Sequence[float]]) -> str:
    """Return the figures for people."""
    trials = len(found["hamgr"])
    lines = [
        f"SIGKILL of the leader to the next acknowledged write, default timers, {trials} trials each",
        f"{'':8}{'median s':>10}{'least s':>10}{'most s':>10}",
    ]
    for name, times in found.items():
        lines.append(f"{name:8}{statistics.median(times):10.3f}{min(times):10.3f}{max(times):10.3f}")
    median_s, most_s = statistics.median(found["hamgr"]), max(found["hamgr"])
    goals = [
        (f"median at most {GOAL_MEDIAN_S:g} s", median_s <= GOAL_MEDIAN_S),
        (f"none over {GOAL_MAX_S:g} s", most_s <= GOAL_MAX_S),
    ]
    if "etcd" in found:
        share = median_s / statistics.median(found["etcd"])
        lines.append(f"hamgr's median is {share:.2f} of etcd's")
        goals.append(("a third of etcd's", share <= GOAL_SHARE))
    lines.append(told(goals))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("failover", __doc__)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parsed_beside_etcd(parser, words)
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        found = measured(Path(name), trials=arguments.trials, alone=arguments.alone)
    print(json.dumps({"seconds": found}) if arguments.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

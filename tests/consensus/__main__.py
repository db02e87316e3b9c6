"""Run many worlds: `python -m tests.consensus --seeds 5000 --from 0 --jobs 2`."""

import argparse
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.consensus.figures import Figures
from tests.consensus.world import Verdict, judge

MISSING_FROM = 200
"""With as many seeds, everything should have come about."""


def main() -> int:
    """Judge the seeds; the exit status is 1 when any world broke a law."""
    parser = argparse.ArgumentParser(prog="python -m tests.consensus")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at work")
    parser.add_argument("--verbose", action="store_true", help="print everything that happens")
    parser.add_argument("--traces", action="store_true", help="print each world's digest, and nothing else")
    parser.add_argument("--outside", action="store_true", help="judge by what people outside see, only")
    parser.add_argument("--fencing", action="store_true", help="worlds of two that can fence each other")
    options = parser.parse_args()
    seeds = range(options.start, options.start + options.seeds)
    given = {"watching": False} if options.outside else {}
    given |= {"fencing": True} if options.fencing else {}
    one = partial(judge, tell=print if options.verbose else None, **given)
    began, figures, broken = time.monotonic(), Figures(), 0
    for verdict in _verdicts(one, seeds, options.jobs):
        figures.add(verdict.figures)
        if options.traces:
            print(verdict.seed, verdict.trace)
        elif verdict.law:
            broken += 1
            print(verdict, flush=True)
    if options.traces:
        return 0
    took_s = time.monotonic() - began
    print(figures.line())
    print(f"{options.seeds} seeds in {took_s:.1f} s ({options.seeds / took_s:.1f}/s), {broken} broke a law")
    if options.seeds >= MISSING_FROM and (missing := figures.missing()):
        print(f"never came about: {', '.join(missing)}")
    return 1 if broken else 0


def _verdicts(one: Callable[[int], Verdict], seeds: range, jobs: int) -> Iterator[Verdict]:
    logging.disable()  # replicas report every crash that they recover from
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=logging.disable) as pool:
        yield from pool.map(one, seeds, chunksize=5)


if __name__ == "__main__":
    sys.exit(main())

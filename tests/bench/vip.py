"""How long nobody answers at the virtual address when its holder dies: hamgr, and keepalived beside it.

Three machines (network namespaces) on a bridge, a client in the hub that begins a try every 10 ms. The
holder loses its power, stands still, loses its cable, or is cut off from the others, in turn. hamgr
answers by TLS and a token, keepalived's machines by a plain TCP server. Prints the longest gap of each.
"""

import argparse
import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import vip_keepalived
from tests.cluster.vips import WRECKS, Caller, VIPCluster, vip_cluster

AFTER_S = 0.7
"""Longer than the greatest gap that is expected, and than what a kernel needs to forget the address."""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench vip")
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--moves", type=int, default=5)
    parser.add_argument("--peer-deaths", type=int, default=8)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="hamgr-vip-") as directory:
        with vip_cluster(Path(directory) / "cluster") as vips:
            deaths = [(how, _death(vips, how)) for how in _turns(options.deaths)]
            moves = [_move(vips) for _ in range(options.moves)]
        ours = [gap_s for _, gap_s in deaths]
        for how in WRECKS:
            gaps = [gap_s for each, gap_s in deaths if each == how]
            if gaps:
                _tell(f"hamgr, {how}", gaps)
        _tell("hamgr, all deaths", ours)
        if moves:
            _tell("hamgr, planned move", moves)
        if shutil.which("keepalived") is None:
            print("keepalived is not installed (apt-get install keepalived): nothing to compare with")
            return 0
        for advert_s in (1.0, 0.1):
            theirs = vip_keepalived.gaps(Path(directory), advert_s, options.peer_deaths)
            _tell(f"keepalived, adverts {advert_s:g} s, cable", theirs)
            ratio = statistics.median(theirs) / statistics.median(ours)
            print(f"  its median gap is {ratio:.2f} times that of hamgr")
    return 0


def _turns(deaths: int) -> list[str]:
    return [WRECKS[number % len(WRECKS)] for number in range(deaths)]


def _death(vips: VIPCluster, how: str) -> float:
    """Return the longest gap around one death; the old holder is mended, and must not answer any more."""
    old = vips.settle()
    with Caller(vips, vips.ip) as caller:
        vips.cluster.wait("answers", lambda: len(caller.answers) > 10)
        died = time.monotonic()
        vips.wreck(old, how)
        vips.cluster.wait("another's answer", lambda: any(who != old for _, who in caller.answers))
        time.sleep(AFTER_S)
        gap_s = caller.longest_gap_s(since=died)
        taken = min(at for at, who in caller.answers if who != old)
        vips.mend(old)
        time.sleep(AFTER_S)
    late = [at - taken for at, who in caller.answers if who == old and at > taken]
    worse = f"; IT ANSWERED {len(late)} TIMES LATER" if late else ""
    print(f"{how:10} {old}: {gap_s * 1000:5.0f} ms{worse}", flush=True)
    return gap_s


def _move(vips: VIPCluster) -> float:
    old = vips.settle()
    heir = next(name for name in vips.cluster.names if name != old)
    with Caller(vips, vips.ip) as caller:
        vips.cluster.wait("answers", lambda: len(caller.answers) > 10)
        moved = time.monotonic()
        vips.cluster.on(old, "POST", f"/v1/replicas/{heir}:lead")
        with contextlib.suppress(AssertionError):
            vips.cluster.wait("the heir's answer", lambda: caller.answers[-1][1] != old)
        time.sleep(AFTER_S)
        return caller.longest_gap_s(since=moved)


def _tell(what: str, gaps: Sequence[float]) -> None:
    low, middle, high = min(gaps), statistics.median(gaps), max(gaps)
    print(
        f"{what:32} n={len(gaps):<3} median {middle * 1000:5.0f} ms, "
        f"least {low * 1000:5.0f} ms, greatest {high * 1000:5.0f} ms"
    )

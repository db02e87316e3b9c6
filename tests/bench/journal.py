"""What the journal costs: a sync, and how long a compaction holds everything up for a tail of some size.

A compaction writes what is left of the log to a new file. Beside it stands the floor: the same bytes written
and synced at once by nobody who encodes them. The folder must be on the disk that is to be measured.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hamgr.raft.store.journal import Journal
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.storage import Storage

USUAL_BYTES, MIB = 300, 1 << 20
SYNCS = 300
CASES = {
    "100 usual entries": (100, USUAL_BYTES),
    "4,096 usual entries": (4_096, USUAL_BYTES),
    "20,000 usual entries": (20_000, USUAL_BYTES),
    "64 MiB of 64 KiB": (1_024, 64 * 1024),
    "64 MiB of usual entries": (64 * MIB // USUAL_BYTES, USUAL_BYTES),
}


def synced(path: Path) -> list[float]:
    """Return the seconds of each sync of one usual entry."""
    seconds: list[float] = []
    journal = Journal(Storage(), path, None, observe_sync=seconds.append)
    for index in range(1, SYNCS + 1):
        journal.add(b"\0" * USUAL_BYTES, index, 1)
        journal.sync()
    journal.close()
    path.unlink()
    return seconds


def compacted(path: Path, entries: int, entry_bytes: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of a compaction that leaves so many entries, of the floor, and of a start."""
    journal = Journal(Storage(), path, None)
    for index in range(1, entries + rounds + 1):
        journal.add(bytes([index % 251]) * entry_bytes, index, 1)
    journal.sync()
    taken, floor = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        journal.deleteEntriesTo(1)
        taken.append(time.perf_counter() - begun)
        floor.append(_floor(path))
    journal.close()
    begun = time.perf_counter()
    recover(path, path.read_bytes())
    start = time.perf_counter() - begun
    size = path.stat().st_size
    path.unlink()
    return {
        "mib": size / MIB,
        "compaction_s": statistics.median(taken),
        "floor_s": statistics.median(floor),
        "recovery_s": start,
    }


def _floor(path: Path) -> float:
    storage, content, beside = Storage(), path.read_bytes(), path.with_suffix(".floor")
    begun = time.perf_counter()
    file = storage.create(beside)
    storage.append(file, content)
    storage.sync(file)
    storage.close(file)
    taken = time.perf_counter() - begun
    beside.unlink()
    return taken


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench journal", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries-max", type=int, default=1 << 30, help="leave out what has more")
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "journal"
        syncs = synced(path)
        cases = {
            name: compacted(path, entries, size, arguments.rounds)
            for name, (entries, size) in CASES.items()
            if entries <= arguments.entries_max
        }
    if arguments.json:
        print(json.dumps({"sync_s": statistics.median(syncs), "cases": cases}))
        return 0
    print(
        f"a sync of one entry: median {statistics.median(syncs) * 1e3:.2f} ms, worst {max(syncs) * 1e3:.2f}"
    )
    print(f"{'left after a compaction':26}{'MiB':>8}{'took ms':>10}{'floor ms':>10}{'read ms':>10}")
    for name, one in cases.items():
        print(
            f"{name:26}{one['mib']:8.1f}{one['compaction_s'] * 1e3:10.1f}"
            f"{one['floor_s'] * 1e3:10.1f}{one['recovery_s'] * 1e3:10.1f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

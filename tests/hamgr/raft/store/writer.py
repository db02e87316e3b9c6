"""A process that stores as a replica does and says what is safe, until it is killed or its disk fails.

Run as a program it is the process, `FOLDER SEED ENTRIES`: it prints each index that is on the disk, and takes
a snapshot every ENTRIES entries. `Writer` is the test's handle on one, `rebuilt` what a restart would find.
"""

import logging
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[4]))

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol import membership
from hamgr.raft.store.compaction import Compactor
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.identity import begin, create, load
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.snapshot import Snapshot, decode_snapshot
from hamgr.raft.store.storage import DiskFailed
from statemachine import codec, machine
from statemachine.commands import SetGlobals
from statemachine.model import State

PROGRAM = Path(__file__)
WHO = {
    "cluster": "c0ffee00-0000-4000-8000-000000000001",
    "replica": "c0ffee00-0000-4000-8000-0000000000aa",
}
NOBODY = membership.encode(membership.Configuration())
TRAILING = 5
EXIT_DISK, EXIT_CANNOT_START = 70, 78


class Log:
    """The journal as a core presents it to the compactor."""

    def __init__(self, journal):
        self.journal = journal

    def snapshot(self, state, index):
        journal = self.journal
        if journal.term_at(index - 1) is None:
            return None
        before_last, last = journal.entries_from(index - 1, 1 << 30, 2)
        return Snapshot(state=state, last=last, before_last=before_last, configuration=NOBODY)

    def snapshot_taken(self, snapshot):
        place = snapshot.before_last[1] - TRAILING - self.journal.first
        if place > 0:
            self.journal.deleteEntriesTo(place)


def replayed(entries, snapshot) -> tuple[State, int]:
    """Return the state that a snapshot and the entries after it give, and its index."""
    state, index = (State(), 0) if snapshot is None else (snapshot.state, snapshot.last[1])
    for command, at, _term in entries:
        if at > index:
            assert at == index + 1, f"entry {at} follows {index}"
            state, _outcome, bug = machine.apply_entry(state, command)
            assert bug is None
            index = at
    assert state.globals.get("n", 0) == index
    return state, index


def rebuilt(path: Path) -> tuple[State, int]:
    """Return what a replica that starts with the folder would hold."""
    snapshot = path / "snapshot"
    return replayed(
        recover(path / "journal", (path / "journal").read_bytes()).entries,
        decode_snapshot(snapshot.read_bytes()) if snapshot.exists() else None,
    )


class Writer:
    """One process; `ended` or `kill` end it, and both give what it said was safe."""

    def __init__(self, path: Path, *, seed: int = 0, entries: int = 16, env=None) -> None:
        if not path.exists() or not list(path.iterdir()):
            create(path, **WHO)
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(path), str(seed), str(entries)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        self.safe = 0
        self._rest = b""

    def wait_for(self, index: int, *, seconds: float = 20.0) -> None:
        """Wait until entry `index` is said to be safe."""
        deadline = time.monotonic() + seconds
        while self.safe < index:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, f"only {self.safe} entries within {seconds} s"
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, f"it ended: {self.process.communicate()[1].decode()}"
            self._take(data)

    def kill(self) -> int:
        """SIGKILL; return the last index that was said to be safe."""
        self.process.kill()
        self._end()
        assert self.process.returncode == -signal.SIGKILL
        return self.safe

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return exit status and what was written on standard error."""
        words = self._end()
        return self.process.returncode, words

    def _end(self) -> str:
        output, words = self.process.communicate(timeout=30)
        self._take(output)
        return words.decode()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.safe = max([self.safe, *map(int, lines)])


def store_for_ever(path: Path, seed: int, entries: int) -> None:
    identity = load(path, **WHO)
    folder = Folder(path)
    identity = begin(path, identity)
    journal = folder.settle(identity.folder)
    state, index = replayed(journal[:], folder.load() if folder.snapshot_path.exists() else None)
    compactor, log = Compactor(folder, entries=entries, size_bytes=1 << 30), Log(journal)
    shuffle = random.Random(seed)
    while True:
        for _ in range(shuffle.randint(1, 5)):
            index += 1
            command = SetGlobals(
                request_id=f"set-{index}",
                at=1.0,
                actor="test",
                variables={"n": index, "pad": "x" * shuffle.randint(0, 2_000)},
            )
            entry = codec.encode_command(command)
            journal.add(entry, index, index)
            state, _outcome = machine.apply(state, command)
            compactor.count(index, entry, state)
        journal.setCurrentTerm(index, WHO["replica"])
        journal.setRaftCommitIndex(index)
        journal.sync()
        os.write(1, b"%d\n" % index)
        compactor.advance(log)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    try:
        store_for_ever(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except DiskFailed as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_DISK)
    except CannotStart as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CANNOT_START)

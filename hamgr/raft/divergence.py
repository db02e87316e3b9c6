"""What a replica does when its state is not the one that the majority has: it serves nothing, keeps its files
for whoever looks for the cause, and takes the leader's snapshot in place of its own.

Judged by `agreement`. A bug, a failing memory or a meddled file can bring it about; a disk's bit flip cannot,
since files are checked whenever they are read.
"""

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from hamgr.raft.agreement import Agreement
from hamgr.raft.protocol.membership import ReplicaId

logger = logging.getLogger(__name__)

KEPT_MAX = 3
"""Divergences whose files are kept; the first ones tell most."""


class Divergence:
    """Compares digests, and knows whether this replica is at fault.

    Attributes:
        found: Why nothing is served; empty when nothing is wrong.
        count: How often something was.
    """

    def __init__(self, folder: Path, *, me: ReplicaId) -> None:
        """Judge the replica `me`, whose files are in `folder`."""
        self.found = ""
        self.count = 0
        self._folder = folder
        self._me = me
        self._index = 0
        self._agreement = Agreement()

    def note(self, index: int, digest: bytes, voters: Collection[ReplicaId]) -> bool:
        """Take down our own digest; True when that shows for the first time that we are at fault."""
        self._agreement.note(index, digest)
        return self._judge(voters)

    def heard(self, peer: ReplicaId, index: int, digest: bytes, voters: Collection[ReplicaId]) -> bool:
        """Take down a peer's digest; as `note`."""
        self._agreement.heard(peer, index, digest)
        return self._judge(voters)

    def ended(self) -> None:
        """Note that the state was replaced by another replica's."""
        self.found = ""
        self._agreement.forget()

    def keep_files(self) -> None:
        """Copy journal and snapshot aside; takes as long as the disk takes."""
        target = self._folder / f"diverged-{self._index}"
        if target.exists() or len(list(self._folder.glob("diverged-*"))) >= KEPT_MAX:
            return
        try:
            target.mkdir(mode=0o700)
            for name in ("journal", "snapshot"):
                if (self._folder / name).exists():
                    shutil.copyfile(self._folder / name, target / name)
        except OSError as error:
            logger.error("the files of the diverged state could not be kept in %s: %s", target, error)  # noqa: TRY400 - the sentence says all

    def _judge(self, voters: Collection[ReplicaId]) -> bool:
        index = None if self.found else self._agreement.verdict(voters, self._me)
        if index is None:
            return False
        self._index = index
        self.count += 1
        self.found = (
            f"this replica's state at entry {index} is not the one that the majority has; it fetches theirs, "
            f"and keeps its own files in {self._folder / f'diverged-{index}'}: report them"
        )
        return True

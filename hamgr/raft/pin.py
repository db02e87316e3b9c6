"""The consensus library as we know it: its version, its files, and what of its private parts we touch.

1. Every file of the library that takes part has the content that was read and tested, or nothing starts. A
   version number alone would not say so: the private members below may change in any release.
2. Pickle is out of reach in what is used of it: bytes from a peer or a disk are never unpickled.
3. Nothing else of hamgr imports the library, or names a private member of it, but for `core`.
"""

import hashlib
import importlib
from pathlib import Path
from typing import Any, NoReturn

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj import serializer as _serializer
from pysyncobj import syncobj as library
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

__all__ = ["LIBRARY_VERSION", "Node", "SyncObj", "SyncObjConf", "Transport", "library"]

LIBRARY_VERSION = "0.3.17"
FILES = {
    "config": "fbbc7ff9f18e4d15a7fd563376e42f5bd192956879d4b810b056d5248b955698",
    "fast_queue": "8477fe5fdf36d9766df933310d3d66ee953d1afc195b1e6482b3a1498fc517bd",
    "journal": "9cf1eaf6acc704581a4cf7d3de330a404403913107adc91c929778b7e3f35edf",
    "node": "e4a3f027cd8291f558334bb9c977e952f6b6989e7e1fa1588d3005ef0b990e2c",
    "serializer": "4d39fde2f15000ad8f507ec229ebd4f6a86371b6f84d4dc1439a9cccd52857ee",
    "syncobj": "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4",
    "transport": "0c9d89f9c4781ec9772df8011d7975a1a4a1a5f541357e12eae85a813e92b50b",
}
"""Module and SHA-256 of its source."""

PRIVATE_METHODS_REPLACED = (
    "connectedToAnyone",  # whether to stand for election
    "applyLogEntries",  # what is committed reaches the state
    "sendAppendEntries",  # replication
    "loadDumpFile",  # a snapshot from the library's own file
    "tryLogCompaction",  # a snapshot to the library's own file
)
PRIVATE_METHODS_CALLED = ("deleteEntriesTo", "onMessageReceived", "setState")
PRIVATE_FIELDS = (
    "raftLog",
    "raftLastApplied",
    "raftCommitIndex",
    "raftMatchIndex",
    "raftNextIndex",
    "raftLeader",
    "raftElectionDeadline",
    "lastResponseTime",
    "otherNodes",
    "readonlyNodes",
)


class _NoPickle:
    """Stands where the library expects its pickle module."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"the consensus library called pickle.{name}, which is disabled"
        )


def _check() -> None:
    if VERSION != LIBRARY_VERSION:
        raise ImportError(
            f"pysyncobj {VERSION} is installed, but hamgr was tested with {LIBRARY_VERSION} only; "
            f"install pysyncobj=={LIBRARY_VERSION}"
        )
    for name, digest in FILES.items():
        path = Path(str(importlib.import_module(f"pysyncobj.{name}").__file__))
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ImportError(
                f"{path} is not the file that hamgr was tested with; reinstall pysyncobj=={LIBRARY_VERSION}"
            )


def _disarm() -> None:
    module: Any
    for module in (library, _serializer):
        module.pickle = _NoPickle()
    # The library would open its own journal at a path; it is handed ours, open.
    library.createJournal = lambda journal: journal


_check()
_disarm()

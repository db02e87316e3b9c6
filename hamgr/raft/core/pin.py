"""The consensus library as we know it: its version, its files, and what of its private parts we touch.

1. Every file of the library that is loaded has the content that was read and tested, or nothing starts. A
   version number alone would not say so: the private members below may change in any release.
2. Pickle is out of reach in what is used of it: bytes from a peer or a disk are never unpickled.
3. Nothing else of hamgr imports the library, or names a private member of it, but for `library`.
"""

import hashlib
import importlib
import socket
from _socket import inet_ntop
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
socket.inet_ntop = inet_ntop
"""The library puts one that works on Windows only in its place, for the whole process."""
FILES = {
    "pysyncobj": "4966a9dd893542b1b0e0fcef3d2ea44f2f40919d66b684992e5511be7503c036",
    "pysyncobj.atomic_replace": "43a5252a241939b7f457cbbf39480260c91f0d2035a62b170bf1e1d20d0f9c1d",
    "pysyncobj.config": "fbbc7ff9f18e4d15a7fd563376e42f5bd192956879d4b810b056d5248b955698",
    "pysyncobj.dns_resolver": "4b88da2b45e20fbb299fb7a21f2595369b6314700b687fb8858891999bce14e0",
    "pysyncobj.encryptor": "db20725465efdfc6d7a3b5b2112f53bc5426d36c56312ebdf5fbcf05423a7c19",
    "pysyncobj.fast_queue": "8477fe5fdf36d9766df933310d3d66ee953d1afc195b1e6482b3a1498fc517bd",
    "pysyncobj.journal": "9cf1eaf6acc704581a4cf7d3de330a404403913107adc91c929778b7e3f35edf",
    "pysyncobj.monotonic": "d116df70e1f81bcab1fb89191fe2fe18486bc25187401d73fd6101cfe686e0a3",
    "pysyncobj.node": "e4a3f027cd8291f558334bb9c977e952f6b6989e7e1fa1588d3005ef0b990e2c",
    "pysyncobj.pickle": "e9327780738065cec5d600484b936c91e7c13875206cb584d5ff7f5d0dc9c474",
    "pysyncobj.pipe_notifier": "587d964bfa5d62320f3541cbb283ff3e282cb2db95e1b8cfd888dc3d53af82aa",
    "pysyncobj.poller": "f69ac749fb410670282fd9520c5805ffc684c8a5f762a927127753d9be8551e6",
    "pysyncobj.serializer": "4d39fde2f15000ad8f507ec229ebd4f6a86371b6f84d4dc1439a9cccd52857ee",
    "pysyncobj.syncobj": "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4",
    "pysyncobj.tcp_connection": "7784ed8da031369fe36f805cb186a2e94a3bd6f10fed2dd59c8cc3713fd6331c",
    "pysyncobj.tcp_server": "bde2f216c1a585029188d0438b44762e2e797dfc53bbce387839daaa46b9a60d",
    "pysyncobj.transport": "0c9d89f9c4781ec9772df8011d7975a1a4a1a5f541357e12eae85a813e92b50b",
    "pysyncobj.utility": "1aa0c49d3558c5df6489235b94ae44357b382f9f0792b9d72ae6e5ae0c0039ea",
    "pysyncobj.version": "0b8426a8b52ecf874193897d26c4214acbd85335145ea9ff17e27a22b1132943",
    "pysyncobj.win_inet_pton": "75315fdf68bfa4219c2952b21077387be45a02c4f01db45c7355cdc883c8e9cc",
}
"""Every module of the library that is loaded, and the SHA-256 of its source."""

PRIVATE_METHODS_REPLACED = (
    "connectedToAnyone",  # whether to stand for election
    "generateRaftTimeout",  # and when
    "applyLogEntries",  # what is committed reaches the state
    "sendAppendEntries",  # replication
    "loadDumpFile",  # a snapshot from the library's own file
    "tryLogCompaction",  # a snapshot to the library's own file
)
PRIVATE_METHODS_CALLED = ("deleteEntriesTo", "onMessageReceived", "setCurrentTerm", "setState")
PRIVATE_FIELDS = (
    "raftLastApplied",
    "raftCommitIndex",
    "raftMatchIndex",
    "raftNextIndex",
    "raftLeader",
    "lastResponseTime",
    "otherNodes",
    "readonlyNodes",
)


class _NoPickle:
    """Stands where the library expects its pickle module."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the consensus library called pickle.{name}, which is disabled")


def _check() -> None:
    if VERSION != LIBRARY_VERSION:
        raise ImportError(
            f"pysyncobj {VERSION} is installed, but hamgr was tested with {LIBRARY_VERSION} only; "
            f"install pysyncobj=={LIBRARY_VERSION}"
        )
    for name, digest in FILES.items():
        path = Path(str(importlib.import_module(name).__file__))
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

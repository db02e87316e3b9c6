"""The library is pinned: we override parts of it, and those must be the ones that we read."""

import hashlib
import importlib
import sys
from pathlib import Path

import pysyncobj
import pysyncobj.version
import pytest

from hamgr.raft.old_core import LIBRARY_VERSION

SHA256 = {
    "syncobj.py": "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4",
    "journal.py": "9cf1eaf6acc704581a4cf7d3de330a404403913107adc91c929778b7e3f35edf",
    "serializer.py": "4d39fde2f15000ad8f507ec229ebd4f6a86371b6f84d4dc1439a9cccd52857ee",
    "tcp_connection.py": "7784ed8da031369fe36f805cb186a2e94a3bd6f10fed2dd59c8cc3713fd6331c",
    "tcp_server.py": "bde2f216c1a585029188d0438b44762e2e797dfc53bbce387839daaa46b9a60d",
    "transport.py": "0c9d89f9c4781ec9772df8011d7975a1a4a1a5f541357e12eae85a813e92b50b",
}


def test_the_installed_library_is_the_one_that_was_read():
    folder = Path(pysyncobj.__file__).parent
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SHA256}
    assert pysyncobj.version.VERSION == LIBRARY_VERSION
    assert found == SHA256


def test_another_version_of_the_library_is_refused(monkeypatch):
    monkeypatch.setattr(pysyncobj.version, "VERSION", "0.3.18")
    monkeypatch.delitem(sys.modules, "hamgr.raft.old_core")
    with pytest.raises(ImportError, match=r"0\.3\.18"):
        importlib.import_module("hamgr.raft.old_core")

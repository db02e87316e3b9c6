"""The library is pinned: its version, its files, what we touch of it; and its pickle is out of reach."""

import ast
import contextlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pysyncobj
import pysyncobj.version
import pytest

import hamgr
from hamgr.raft.core import pin
from hamgr.raft.core.library import Library
from hamgr.raft.core.pin import (
    FILES,
    LIBRARY_VERSION,
    PRIVATE_FIELDS,
    PRIVATE_METHODS_CALLED,
    PRIVATE_METHODS_REPLACED,
    SyncObj,
    library,
)
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.messages import KINDS, BadMessage
from hamgr.raft.store.journal import LogBroken
from tests.hamgr.raft.protocol.conftest import clock, leader, make, replica
from tests.hamgr.raft.protocol.kit import THREE, A, B, C

__all__ = ["clock", "leader", "make", "replica"]  # fixtures

SOURCES = Path(hamgr.__file__).parent
PREFIX = "_SyncObj__"


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path):
    mark = tmp_path / "executed"
    yield pickle.dumps(Bomb(mark))
    assert not mark.exists()


# The version and the files.


def test_the_installed_library_is_the_one_that_was_read():
    assert pysyncobj.version.VERSION == LIBRARY_VERSION
    pin._check()


def test_another_version_of_the_library_is_refused(monkeypatch):
    monkeypatch.setattr(pin, "VERSION", "0.3.18")
    with pytest.raises(ImportError, match=r"pysyncobj 0\.3\.18 is installed.*install pysyncobj==0\.3\.17"):
        pin._check()


def in_a_process_of_its_own(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_file_of_the_library_that_is_loaded_is_pinned():
    loaded = "print(*(m for m in sys.modules if m.partition('.')[0] == 'pysyncobj'))"
    code = f"import sys, hamgr.raft.core.core; {loaded}"
    run = in_a_process_of_its_own(code)
    assert set(run.stdout.split()) == set(FILES), run.stderr


@pytest.mark.parametrize("name", ["syncobj", "poller", "monotonic"])
def test_a_changed_file_of_the_library_is_refused(tmp_path, name):
    copy = tmp_path / "pysyncobj"
    shutil.copytree(Path(pysyncobj.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / f"{name}.py").open("a") as file:
        file.write("\n")
    path = os.pathsep.join([str(tmp_path), str(SOURCES.parent)])
    run = in_a_process_of_its_own("import hamgr.raft.core.core", PYTHONPATH=path)
    assert run.returncode != 0
    assert f"{copy / name}.py is not the file that hamgr was tested with; reinstall" in run.stderr


# The private members.


def names_in(source):
    """Return the private members of the library that a module names."""
    tree = ast.parse(source)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return (
        {name.removeprefix(PREFIX) for name in attributes if name.startswith(PREFIX)},
        {name.removeprefix(PREFIX) for name in functions if name.startswith(PREFIX)},
        {text for text in texts if text.startswith(PREFIX)},
    )


def test_the_lists_of_private_members_are_complete():
    used, replaced, texts = names_in((SOURCES / "raft" / "core" / "library.py").read_text())
    assert used == {*PRIVATE_METHODS_CALLED, *PRIVATE_FIELDS}
    assert replaced == set(PRIVATE_METHODS_REPLACED)
    assert texts == set()


@pytest.mark.parametrize("name", [*PRIVATE_METHODS_REPLACED, *PRIVATE_METHODS_CALLED])
def test_each_private_method_is_one_of_the_library(name):
    assert callable(vars(SyncObj)[PREFIX + name])
    assert (PREFIX + name in vars(Library)) == (name in PRIVATE_METHODS_REPLACED)


@pytest.mark.parametrize("name", PRIVATE_FIELDS)
def test_each_private_field_is_one_of_the_library(replica, name):
    source = Path(str(library.__file__)).read_text()
    assert re.search(rf"self\.__{name}\b", source)
    assert PREFIX + name in vars(replica.core.library)


def test_our_nodes_have_no_private_field_that_the_library_does_not_have(replica):
    source = Path(str(library.__file__)).read_text()
    known = set(re.findall(r"self\.__(\w+)", source))
    assert {n.removeprefix(PREFIX) for n in vars(replica.core.library) if n.startswith(PREFIX)} <= known


@pytest.mark.parametrize(
    "path", [p for p in sorted(SOURCES.rglob("*.py")) if p.name != "library.py"], ids=lambda p: p.stem
)
def test_no_other_module_names_a_private_member(path):
    assert names_in(path.read_text()) == (set(), set(), set())


# Pickle.


@pytest.mark.parametrize("module", ["syncobj", "serializer"])
def test_the_library_has_no_pickle(module):
    module = sys.modules[f"pysyncobj.{module}"]
    for name in ("loads", "dumps", "load", "dump", "to_bytes"):
        with pytest.raises(AttributeError, match=f"pickle.{name}, which is disabled"):
            getattr(module.pickle, name)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 9])
def test_a_pickle_in_the_log_is_never_unpickled(replica, bomb, kind):
    with pytest.raises(LogBroken, match="upgrade it") if kind == 2 else contextlib.nullcontext():
        replica.follow(B, 5, (bytes([kind]) + bomb, 2, 5), previous=(1, 0), commit=2)
    assert replica.core.applied == (2 if kind in (0, 1) else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_a_message_is_never_unpickled(replica, bomb, kind):
    for fields in ({}, dict.fromkeys(KINDS[kind], bomb)):
        with pytest.raises(BadMessage):
            replica.core.receive(B.id, {"type": kind, **fields, "data ": bomb})
    with pytest.raises(BadMessage):
        replica.core.receive(B.id, bomb)


def test_the_librarys_own_messages_that_hold_pickles_are_not_for_us(replica, bomb):
    fields = {"term": 9, "commit_index": 9, "prevLogIdx": 1, "prevLogTerm": 0}
    for more in (
        {"transmission": "finish", "data": bomb},
        {"serialized": (bomb, True, True)},
        {"entries": [], "sent_at": 1.0, "transmission": "finish", "data": bomb},
    ):
        with pytest.raises(BadMessage):
            replica.core.receive(B.id, {"type": "append_entries", **fields, **more})
    before = replica.core.log[:]
    for kind in ("apply_command", "apply_command_response"):
        replica.hear(B, kind, command=b"\x00" + bomb, request_id=1)
    assert replica.core.log[:] == before
    assert replica.core.term == 0


def test_a_pickle_that_is_proposed_is_a_command_like_any_other(leader, bomb):
    leader.hear(B, "propose", request=1, entry=bomb)
    leader.acknowledge(C)
    assert leader.recorder.obeyed[-1] == (3, bomb)


@pytest.mark.parametrize("door", ["snapshot", "configuration"])
def test_a_pickle_in_a_file_or_a_configuration_is_never_unpickled(replica, bomb, door):
    if door == "snapshot":
        replica.follow(B, 5, (b"\x01", 2, 5), previous=(1, 0))
        assert replica.take_snapshot_from(B, bomb * 4, term=5)[-1]["refused"]
    else:
        with pytest.raises(membership.BadConfiguration):
            membership.decode(bomb)
    assert replica.core.configuration == THREE
    assert A.id == replica.me

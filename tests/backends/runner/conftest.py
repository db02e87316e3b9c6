"""A fresh node for each test, under each shell of this machine that a real node may have as its sh."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.runner.node import Node

TOOLS = "sh flock dd env head ls mkdir mv rm setsid sleep sync sha256sum tail tee uname wc"
SHELLS = [name for name in ("sh", "busybox", "bash") if shutil.which(name)]


def environment_of(shell: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return how to call `shell`, and an environment in which `sh` and the tools are its own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    found = shutil.which(shell)
    assert found is not None
    tools = folder / "tools"
    tools.mkdir()
    if shell == "busybox":
        applets = subprocess.run([found, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for applet in set(TOOLS.split(" ")).intersection(applets):
            (tools / applet).symlink_to(found)
        if "flock" not in applets:
            add_flock_without_wait(tools)
    else:
        (tools / "sh").symlink_to(found)
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    return [str(tools / "sh")], environment


def add_flock_without_wait(tools: Path) -> None:
    """Put a flock into `tools` that knows what busybox's does: -s, -x, -n and -u, but not -w."""
    real = shutil.which("flock")
    tool = tools / "flock"
    refusal = 'case " $* " in *" -w "*) echo "flock: invalid option" >&2; exit 1 ;; esac'
    tool.write_text(f'#!/bin/sh\n{refusal}\nexec {real} "$@"\n')
    tool.chmod(0o755)


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A node under every shell; its folder has a space in its name, as HAMGR_ROOT may."""
    yield from make_node(request.param, tmp_path)


@pytest.fixture
def quick_node(tmp_path: Path) -> Iterator[Node]:
    """A node under this machine's sh only, for what takes long or does not depend on the shell."""
    yield from make_node("sh", tmp_path)


def make_node(shell: str, tmp_path: Path) -> Iterator[Node]:
    root = tmp_path / "a node"
    root.mkdir()
    node = Node(root, *environment_of(shell, tmp_path))
    yield node
    node.close()

"""Bundles made of a few lines, and a node that lives in a folder and runs what they compile to."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hamgr.bundles import BundleInvalid, LoadedBundle, compile_step, load
from statemachine.words import Verb

SMALL = "version: 1\nroles:\n  r:\n    components: [c]\n"

HAMGR = """\
version: 1
variables: {greeting: hello}
roles:
  db:
    components: [store]
  web:
    components: [store, web]
    requires: [{role: db, min: 2}]
    variables: {port: 8080}
"""
STORE = "version: '1.0'\ncommission: []\n"
WEB = """\
version: "1.1"
commission:
  - name: config
    file: {path: /etc/web.conf, template: web.conf.j2, mode: "0640", owner: root}
    timeout_s: 60
    retries: 2
  - name: migrate
    script: {source: migrate.sh, class: checkable, check: check.sh}
  - name: warm
    script: {content: "exit 0\\n", class: once}
  - name: service
    service: {name: web, state: running, restart_on: [/etc/web.conf]}
    retry_delay_s: 2.5
cleanup:
  - name: config
    file: {path: /etc/web.conf, state: absent}
"""
FILES = {
    "hamgr.yaml": HAMGR,
    "components/store/component.yaml": STORE,
    "components/web/component.yaml": WEB,
    "components/web/web.conf.j2": "port={{ port }}\n",
    "components/web/migrate.sh": "#!/bin/sh\n",
    "components/web/check.sh": "exit 0\n",
}


def tar_of(files: Mapping[str, bytes | str], *, mode: int = 0o644) -> bytes:
    """What `tar` makes of a directory with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755 if name.endswith(".sh") else mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def bundle_with(
    step: Mapping[str, Any],
    files: Mapping[str, bytes | str] | None = None,
    *,
    verb: str = "commission",
    secrets: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> LoadedBundle:
    """A bundle with one component `c` that has one step, `s`."""
    component = {"version": "1", "commission": [], verb: [{"name": "s", **step}], **(more or {})}
    return load(
        tar_of(
            {
                "hamgr.yaml": f"secrets: {json.dumps(list(secrets))}\n{SMALL}" if secrets else SMALL,
                # JSON is YAML; what needs another style is tested with YAML written out.
                "components/c/component.yaml": json.dumps(component, ensure_ascii=False),
                **{f"components/c/{name}": data for name, data in (files or {}).items()},
            }
        )
    )


def compiled(
    step: Mapping[str, Any],
    files: Mapping[str, bytes | str] | None = None,
    *,
    verb: Verb = Verb.COMMISSION,
    written_as: str = "commission",
    **variables: Any,
) -> bytes:
    bundle = bundle_with(step, files, verb=written_as)
    return compile_step(bundle, "c", verb, "s", variables=variables, facts={"os": "Debian"}, node_name="n1")


@dataclass(frozen=True)
class Node:
    """A practice node without hamgr: a folder, and a shell."""

    root: Path
    shell: tuple[str, ...]

    def run(self, script: bytes, **environment: str) -> subprocess.CompletedProcess[str]:
        file = self.root.parent / "script"
        file.write_bytes(script)
        return subprocess.run(
            [*self.shell, str(file)],
            env={
                "PATH": f"{self.root}/bin:{os.environ['PATH']}",
                "HAMGR_ROOT": str(self.root),
                "HAMGR_STATE": str(self.root / "var/lib/hamgr"),
                "HAMGR_JOB": "j1",
                "HAMGR_STEP": "c-s",
                "HAMGR_ATTEMPT": "1",
                **environment,
            },
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=30,
            check=False,
        )

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Every file with its mode and content: to see that nothing changed."""
        return {
            str(path.relative_to(self.root)): (path.stat().st_mode & 0o7777, path.read_bytes())
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def install(self, name: str, text: str) -> None:
        """Put a program on the node's PATH, before all others."""
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def _shells() -> list[tuple[str, ...]]:
    shells = [("dash",), ("busybox", "sh"), ("bash",)]
    return [shell for shell in shells if shutil.which(shell[0])] or [("sh",)]


@pytest.fixture(params=_shells(), ids="-".join)
def any_node(tmp_path: Path, request: pytest.FixtureRequest) -> Node:
    """A node under each shell that this machine has."""
    root = tmp_path / "a root"
    root.mkdir()
    return Node(root, request.param)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    root = tmp_path / "a root"
    root.mkdir()
    return Node(root, ("sh",))


@pytest.fixture(name="tar_of")
def _tar_of() -> Callable[..., bytes]:
    return tar_of


@pytest.fixture(name="compiled")
def _compiled() -> Callable[..., bytes]:
    return compiled


@pytest.fixture(name="bundle_with")
def _bundle_with() -> Callable[..., LoadedBundle]:
    return bundle_with


@pytest.fixture
def sound() -> dict[str, str]:
    """The files of a bundle without a fault; the tests below put faults into it."""
    return dict(FILES)


def web(steps, verb="commission"):
    """A component.yaml whose steps start on line 3."""
    first = "" if verb == "commission" else "commission: []\n"
    return f'version: "1"\n{first}{verb}:\n' + textwrap.indent(
        textwrap.dedent(steps).strip("\n") + "\n", "  "
    )


@pytest.fixture
def problems_of():
    def problems_of(**changed):
        names = {
            "hamgr": "hamgr.yaml",
            "web": "components/web/component.yaml",
            "conf": "components/web/web.conf.j2",
        }
        files = {**FILES, **{names.get(name, name): text for name, text in changed.items()}}
        with pytest.raises(BundleInvalid) as caught:
            load(tar_of({name: text for name, text in files.items() if text is not None}))
        told = "\n".join(str(problem) for problem in caught.value.problems)
        assert str(caught.value).startswith(told)
        return str(caught.value).split("\n")

    return problems_of


@pytest.fixture(name="web")
def _web():
    return web

"""hamgr as it runs here, as an archive for another machine: no package index is needed there, nor here.

1. In it are the packages of hamgr and all that it needs, with their compiled forms, and nothing else that is
   installed beside them. It fits machines of the same platform with the same minor version of Python.
2. Equal installations give archives of the same name, so that nothing is sent twice.
"""

import gzip
import hashlib
import importlib.util
import platform
import re
import sys
import tarfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

ROOT = "hamgr"
PACKAGES = ("hamgr", "statemachine", "backends", "cli")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What would be sent.

    Attributes:
        files: By name in the archive, below `site-packages`.
        release: The version and the beginning of a hash over names, sizes and times.
    """

    files: dict[str, Path]
    release: str

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files.values())

    def write(self, stream: IO[bytes]) -> None:
        """Write the archive, compressed lightly: links are fast, and so is this."""
        now = int(time.time())
        with (
            gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|") as archive,
        ):
            for name, path in self.files.items():
                about = archive.gettarinfo(path, name)
                about.uid = about.gid = 0
                about.uname = about.gname = "root"
                about.mtime = min(about.mtime, now)  # tar warns of what is from the future
                with path.open("rb") as content:
                    archive.addfile(about, content)


def fits() -> tuple[str, str, str]:
    """Return the Python, machine and C library that the archive is for."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine(), platform.libc_ver()[0] or "?"


def pack() -> Shipment:
    """Look up what hamgr consists of here."""
    files: dict[str, Path] = {}
    for one in _distributions():
        files.update(_files_of(one))
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found is not None else ():
            top = Path(folder)
            files.update({str(path.relative_to(top.parent)): path for path in _walk(top)})
    ordered = dict(sorted(files.items()))
    seen = hashlib.sha256()
    for name, path in ordered.items():
        if path.suffix == ".pyc":
            continue  # comes and goes with who ran what
        about = path.stat()
        seen.update(f"{name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return Shipment(files=ordered, release=f"{distribution(ROOT).version}-{seen.hexdigest()[:8]}")


def _distributions() -> Iterator[Distribution]:
    """Yield hamgr and what it needs, extras left out."""
    wanted, known = [ROOT], set[str]()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in known:
            continue
        known.add(name)
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or version of Python: its marker did not hold here
        yield one
        needed = _needs(one) if name == ROOT else one.requires or ()
        matches = (_NAME.match(text) for text in needed if "extra ==" not in text)
        wanted += [match[0] for match in matches if match]


def _needs(one: Distribution) -> Sequence[str]:
    """Return what hamgr needs: as its checkout says, where it runs from one; metadata may be older."""
    project = Path(__file__).parent.parent / "pyproject.toml"
    if project.is_file():
        found: list[str] = tomllib.loads(project.read_text())["project"]["dependencies"]
        return found
    return one.requires or ()


def _files_of(one: Distribution) -> Iterator[tuple[str, Path]]:
    for file in one.files or ():
        path = Path(str(one.locate_file(file)))
        if ".." in file.parts or file.suffix in (".pth", ".pyc") or not path.is_file():
            continue
        yield str(file), path
        if file.suffix == ".py":
            yield from _compiled(path, str(file.parent))


def _walk(top: Path) -> Iterator[Path]:
    for path in top.rglob("*"):
        tag = sys.implementation.cache_tag or ""
        if path.is_file() and (path.suffix != ".pyc" or f".{tag}." in path.name):
            yield path


def _compiled(source: Path, folder: str) -> Iterator[tuple[str, Path]]:
    path = Path(importlib.util.cache_from_source(str(source)))
    if path.is_file():
        yield f"{folder}/__pycache__/{path.name}", path

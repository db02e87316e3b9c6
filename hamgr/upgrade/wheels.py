"""Wheels (PyPA's binary distribution format): what one says of itself, and unpacking it into a release.

1. Only pure wheels and those for this machine are taken, and only names that stay below the release.
2. Files are never written through: a file that is there is another release's, too, and is unlinked first.
"""

import io
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

FILES_MAX = 20_000
BYTES_MAX = 256 * 1024 * 1024
"""Unpacked, of one wheel."""
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*([^;]*)(;.*)?$")
_DATA = {"data": "", "purelib": None, "platlib": None, "scripts": "bin"}


class BadWheel(Exception):
    """These bytes cannot be installed; the message is one sentence with the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """What a wheel says of itself.

    Attributes:
        requires: What it needs, as (normalized name, version specifiers); without extras and markers.
        scripts: Its console scripts, as name -> `module:attribute`.
    """

    name: str
    version: str
    size_bytes: int
    requires: tuple[tuple[str, str], ...] = ()
    scripts: dict[str, str] = field(default_factory=dict)


def normalized(name: str) -> str:
    """Return a distribution's name as packages are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(data: bytes) -> WheelFile:
    """Return what a wheel says of itself.

    Raises:
        BadWheel: It is none, is for other machines, or would write elsewhere.
    """
    with _opened(data) as archive:
        info = _info_folder(archive)
        about = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        tags = HeaderParser().parsestr(archive.read(f"{info}/WHEEL").decode()).get_all("Tag") or []
        name, version = about["Name"] or "", about["Version"] or ""
        if not name or not version:
            raise BadWheel("it has neither name nor version; build it again")
        if not any(_fits(tag) for tag in tags):
            raise BadWheel(
                f"{name} {version} is for {', '.join(tags) or 'nobody'}; take the wheel for this platform"
            )
        scripts = ConfigParser(delimiters=("=",))
        scripts.optionxform = str  # type: ignore[assignment,method-assign]  # as importlib.metadata does: names keep their case
        if f"{info}/entry_points.txt" in archive.namelist():
            scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
        return WheelFile(
            name=normalized(name),
            version=version,
            size_bytes=sum(item.file_size for item in archive.infolist()),
            requires=tuple(_requires(about.get_all("Requires-Dist") or [])),
            scripts=dict(scripts["console_scripts"]) if scripts.has_section("console_scripts") else {},
        )


def unpack(data: bytes, *, site: Path, prefix: Path) -> None:
    """Put a wheel's files into `site`, in place of another version of it, and its data below `prefix`.

    Raises:
        BadWheel: As `read`.
        OSError: The disk failed.
    """
    about = read(data)
    with _opened(data) as archive:
        _clear(site, about.name, archive)
        for item in archive.infolist():
            if item.is_dir():
                continue
            target = _target(item.filename, site, prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            with archive.open(item) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def lacking(requires: Sequence[tuple[str, str]], present: dict[str, str]) -> list[str]:
    """Return the requirements that what is `present` (normalized name -> version) does not meet."""
    return [f"{name}{spec}" for name, spec in requires if not _met(spec, present.get(name, ""))]


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError) as error:
        raise BadWheel("this is no wheel; name the .whl file that was built") from error
    items = archive.infolist()
    if len(items) > FILES_MAX or sum(item.file_size for item in items) > BYTES_MAX:
        raise BadWheel(
            f"it has more than {FILES_MAX} files or {BYTES_MAX} bytes; this is no wheel of hamgr's"
        )
    for item in items:
        path = PurePosixPath(item.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in item.filename:
            raise BadWheel(f"it would write {item.filename!a:.100}, outside of the release; do not trust it")
    return archive


def _info_folder(archive: zipfile.ZipFile) -> str:
    folders = {name.partition("/")[0] for name in archive.namelist()}
    found = [name for name in folders if name.endswith(".dist-info")]
    names = set(archive.namelist())
    if len(found) != 1 or not {f"{found[0]}/METADATA", f"{found[0]}/WHEEL"} <= names:
        raise BadWheel("it has no metadata; name the .whl file that was built")
    return found[0]


def _fits(tag: str) -> bool:
    python, _, rest = tag.partition("-")
    abi, _, platform = rest.partition("-")
    here = f"{sys.version_info.major}{sys.version_info.minor}"
    pythons = python.split(".")
    mine = {"py3", f"py{here}", f"cp{here}"} & set(pythons) or (abi == "abi3" and "cp3" in python)
    machine = os.uname().machine
    return bool(mine) and (platform == "any" or (platform.endswith(machine) and "linux" in platform))


def _requires(lines: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        match = _REQUIREMENT.match(line.strip())
        if match is not None and not match[3]:
            found.append((normalized(match[1]), match[2].strip().strip("()").replace(" ", "")))
    return found


def _met(spec: str, version: str) -> bool:
    if not version:
        return False
    have = _release(version)
    for part in filter(None, spec.split(",")):
        if part.startswith(">=") and have < _release(part[2:]):
            return False
        if part.startswith("==") and "*" not in part and version != part[2:]:
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _clear(site: Path, name: str, archive: zipfile.ZipFile) -> None:
    """Remove another version of a wheel: its metadata, and the packages that the new one brings, too."""
    for info in site.glob("*.dist-info"):
        if normalized(info.name.removesuffix(".dist-info").rpartition("-")[0]) == name:
            shutil.rmtree(info)
    for name_in in archive.namelist():
        package, _, rest = name_in.partition("/")
        if rest == "__init__.py" and (site / package).is_dir():
            shutil.rmtree(site / package)


def _target(name: str, site: Path, prefix: Path) -> Path:
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return site / name
    kind, _, below = rest.partition("/")
    if kind not in _DATA or not below:
        raise BadWheel(f"it has files of a kind that is not known: {name!a:.100}")
    folder = _DATA[kind]
    return site / below if folder is None else prefix / folder / below

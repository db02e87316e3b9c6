"""Wheels of this tree with another version or fault, and releases to begin from; no index is asked."""

import hashlib
import io
import sys
import sysconfig
import zipfile
from pathlib import Path

import hamgr
from hamgr.upgrade import wheels

TREE = Path(hamgr.__file__).parent.parent
PACKAGES = ("hamgr", "statemachine", "backends")
"""What a replica needs."""
METADATA = "Metadata-Version: 2.1\nName: hamgr\nVersion: {version}\n{requires}"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
SCRIPTS = "[console_scripts]\nhamgrd = hamgr.commands:main\n"
BROKEN = 'raise SystemExit("this release cannot start")\n'


def wheel(
    version: str, *, edit: dict[str, str] | None = None, requires: str = "", tag: str = "py3-none-any"
) -> bytes:
    """Return the wheel of this tree as `version`, always the same bytes; `edit` adds to files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for package in PACKAGES:
            for path in sorted((TREE / package).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    name = str(path.relative_to(TREE))
                    text = path.read_bytes() + (edit or {}).get(name, "").encode()
                    archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED, 1)
        info = f"hamgr-{version}.dist-info"
        about = METADATA.format(version=version, requires=requires)
        for name, said in (
            ("METADATA", about),
            ("WHEEL", WHEEL.format(tag=tag)),
            ("entry_points.txt", SCRIPTS),
        ):
            archive.writestr(zipfile.ZipInfo(f"{info}/{name}"), said)
    return buffer.getvalue()


def small_wheel(
    version: str, *, name: str = "hamgr", files: dict[str, str] | None = None, **more: str
) -> bytes:
    """Return a wheel with these files and nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in (files or {f"{name}/__init__.py": ""}).items():
            archive.writestr(path, text)
        info = f"{name}-{version}.dist-info"
        requires = "".join(f"Requires-Dist: {line}\n" for line in more.get("requires", "").splitlines())
        about = METADATA.format(version=version, requires=requires).replace("hamgr", name)
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", WHEEL.format(tag=more.get("tag", "py3-none-any")))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def lay_release(root: Path, name: str, data: bytes) -> Path:
    """Make a first release as `hamgr replica add` would, its other packages borrowed from this one's."""
    prefix = root / "releases" / name
    site = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (prefix / "bin").mkdir()
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    (prefix / "bin" / "python").symlink_to(base)
    (prefix / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheels.unpack(data, site=site, prefix=prefix)
    script = prefix / "bin" / "hamgrd"
    script.write_text(
        f"#!{prefix}/bin/python\nimport sys\nfrom hamgr.commands import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    (root / "current").symlink_to(Path("releases") / name)
    return prefix

"""The releases of hamgr on one machine: `ROOT/releases/VERSION-HASH8`, and the link `ROOT/current`.

1. A release has its name only when all of it is on the disk; what a crash left has another name.
2. Files that do not change are hard links to those of the release before; nobody ever writes into one.
3. The link is replaced by a rename: at every moment it names a whole release.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from hamgr.upgrade import wheels
from hamgr.upgrade.wheels import BadWheel

CHECK_S_MAX = 120.0
COMPILE_S_MAX = 240.0
HASH_CHARS = 8
GUARD = "guard"
"""The link to the release that an upgrade began from; it is there while one is under way."""
CHECK = "import sys, hamgr.daemon, hamgr.commands; hamgr.commands.main(['check-config', sys.argv[1]])"
SCRIPT = "#!{python}\nimport sys\nfrom {module} import {attribute}\nsys.exit({attribute}())\n"


class CannotInstall(Exception):
    """The new release was not made, and nothing has changed; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """The releases of one machine."""

    root: Path

    @property
    def current(self) -> Path:
        return self.root / "current"

    def path(self, release: str) -> Path:
        return self.root / "releases" / release

    def running(self) -> str:
        """Return the release that the link names; empty when it names none."""
        target = self.current.resolve()
        return target.name if target.parent == (self.root / "releases").resolve() else ""

    def switch(self, release: str, *, link: str = "current") -> None:
        """Have a link name a release, durably and at once."""
        new = self.root / f"{link}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("releases") / release)
        new.replace(self.root / link)
        _sync(self.root)

    def make(self, release: str, before: str, files: Sequence[bytes]) -> None:
        """Make a release of the one before and wheels; one that is there already stays as it is.

        Raises:
            CannotInstall: A wheel cannot be installed, or what it needs is neither here nor given.
            OSError: The disk failed.
        """
        target = self.path(release)
        if target.exists():
            return
        new = target.with_name(f"{release}.new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(self.path(before), new, symlinks=True, copy_function=_link)
        site = _site(new)
        try:
            about = [wheels.read(data) for data in files]
            for data in files:
                wheels.unpack(data, site=site, prefix=new)
        except BadWheel as error:
            raise CannotInstall(f"a wheel cannot be installed: {error}") from error
        for one in about:
            for name, entry in one.scripts.items():
                _write_script(new / "bin" / name, entry, python=target / "bin" / "python")
        present = _present(new)
        if missing := [text for one in about for text in wheels.lacking(one.requires, present)]:
            raise CannotInstall(
                f"the new release needs {', '.join(missing[:5])}, which is not here; "
                "name its wheel, too: `hamgr self upgrade WHEEL --with WHEEL`"
            )
        _compile(new, site)
        os.sync()
        new.rename(target)
        _sync(target.parent)

    def check(self, release: str, config: Path) -> None:
        """Run what can be run of a release without serving; raises `CannotInstall` when it fails."""
        python = self.path(release) / "bin" / "python"
        done = _run([str(python), "-c", CHECK, str(config)], limit_s=CHECK_S_MAX)
        if done.returncode:
            last = "".join((done.stderr or done.stdout).strip().splitlines()[-1:])
            raise CannotInstall(f"the new release does not run on this machine: {last or 'no reason given'}")

    def free_bytes(self) -> int:
        """Return how much room there is for another one."""
        return shutil.disk_usage(self.root).free


def here() -> Releases | None:
    """Return the releases that this process was started from; None when hamgr was installed otherwise."""
    prefix = Path(sys.prefix).resolve()
    root = prefix.parent.parent
    if prefix.parent.name != "releases" or not (root / "current").is_symlink():
        return None
    return Releases(root=root)


def name_of(version: str, digests: Sequence[str]) -> str:
    """Return the name of the release that these wheels make."""
    return f"{version}-{hashlib.sha256(' '.join(sorted(digests)).encode()).hexdigest()[:HASH_CHARS]}"


def _site(prefix: Path) -> Path:
    found = sorted(prefix.glob("lib/python*/site-packages"))
    if len(found) != 1:
        raise CannotInstall(f"{prefix} is no virtual environment; install hamgr with `hamgr replica add`")
    return found[0]


def _link(source: str, target: str) -> None:
    """Share a file between two releases, or copy it where the file system knows no hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _write_script(path: Path, entry: str, *, python: Path) -> None:
    module, _, attribute = entry.partition(":")
    path.unlink(missing_ok=True)  # it may be the file of the release before
    path.write_text(SCRIPT.format(python=python, module=module.strip(), attribute=attribute.strip()))
    path.chmod(0o755)


def _present(prefix: Path) -> dict[str, str]:
    """Return what is installed in a release, by normalized name."""
    code = "import sys; print('\\n'.join(p for p in sys.path if p))"
    done = _run([str(prefix / "bin" / "python"), "-c", code], limit_s=CHECK_S_MAX)
    found: dict[str, str] = {}
    for one in distributions(path=done.stdout.splitlines()):
        found.setdefault(wheels.normalized(one.name), one.version)
    return found


def _compile(new: Path, site: Path) -> None:
    """Make the compiled forms: the replica may not write them, and starts faster with them."""
    python = str(new / "bin" / "python")
    done = _run([python, "-m", "compileall", "-q", "-s", str(new), str(site)], limit_s=COMPILE_S_MAX)
    if done.returncode and "SyntaxError" in done.stdout:
        raise CannotInstall("the new release does not compile with this machine's Python")


def _run(words: Sequence[str], *, limit_s: float) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=limit_s, env=environment, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{Path(words[0]).name} did not end within {limit_s:g} s") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

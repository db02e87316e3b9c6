"""`package` steps against the real apt, dpkg, dnf and rpm, with packages and repositories made here.

Each test has a root, a package database and a `file:` repository of its own, so nothing of this machine
changes. Both managers want to be root, therefore these are lab tests. dnf is in Debian too: with CI set it
has to be there, elsewhere its half is made where it is found.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import textwrap
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest

from hamgr.bundles import compile_preview
from statemachine.words import Verb

pytestmark = pytest.mark.lab

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANAGERS = ["apt", *(["dnf"] if os.environ.get("CI") or shutil.which("dnf", path=PATH) else [])]
WAIT_S = 60


def run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


class Distribution(ABC):
    """A machine of one distribution: a root with a package database, and a repository it takes packages from.

    A package has one file that says its version, and one file for its configuration.
    """

    def __init__(self, here: Path) -> None:
        self.here = here
        self.root, self.repo, self.bin = here / "root", here / "repo", here / "bin"
        for directory in (self.root, self.repo, self.bin):
            directory.mkdir(parents=True)
        self.environment: dict[str, str] = {}

    @abstractmethod
    def release(self, name: str, version: str) -> None:
        """Put a version of a package into the repository, which the machine has not looked at since."""

    def last(self, script: bytes) -> tuple[int, str]:
        """Run a step; return its exit status and its last line."""
        file = self.here / "script"
        file.write_bytes(script)
        done = subprocess.run(
            ["sh", str(file)],
            env={"PATH": f"{self.bin}:{PATH}", "HAMGR_STATE": str(self.here / "state"), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        self.told = done.stdout
        return done.returncode, self.told.strip().split("\n")[-1]

    def has(self, name: str) -> str:
        """Return the version of a package whose file is on the machine; empty when there is none."""
        file = self.root / "usr/share" / name / "version"
        return file.read_text().strip() if file.exists() else ""

    def configuration(self, name: str) -> Path:
        return self.root / "etc" / f"{name}.conf"


class Debian(Distribution):
    """apt and dpkg, led to another place by their own settings."""

    def __init__(self, here: Path) -> None:
        super().__init__(here)
        self.database = self.root / "var/lib/dpkg"
        for name in ("info", "updates"):
            (self.database / name).mkdir(parents=True)
        for name in ("status", "available"):
            (self.database / name).write_text("")
        for name in (
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "log",
        ):
            (here / name).mkdir(parents=True)
        (here / "etc/sources.list").write_text(f"deb [trusted=yes] copy:{self.repo} ./\n")
        settings = here / "apt.conf"
        settings.write_text(
            textwrap.dedent(f"""\
                Dir "{here}/";
                Dir::State "state";
                Dir::State::status "{self.database}/status";
                Dir::Cache "cache";
                Dir::Etc "etc";
                Dir::Log "log";
                APT::Sandbox::User "root";
                Acquire::Languages "none";
                """)
        )
        self.environment = {
            "APT_CONFIG": str(settings),
            "DPKG_ROOT": str(self.root),
            "DPKG_ADMINDIR": str(self.database),
        }

    def lock(self, name: str) -> Path:
        """Return the file of a lock of apt's or dpkg's."""
        parent = {"lists/lock": self.here / "state", "archives/lock": self.here / "cache"}
        return parent.get(name, self.database) / name

    def made(self, name: str, version: str) -> Path:
        """Return a package that is not yet in the repository."""
        tree = self.here / f"{name}-{version}"
        for path, text in (
            ("DEBIAN/control", control(name, version)),
            ("DEBIAN/conffiles", f"/etc/{name}.conf\n"),
            (f"etc/{name}.conf", f"of {version}\n"),
            (f"usr/share/{name}/version", f"{version}\n"),
        ):
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        package = self.here / f"{name}_{version}_all.deb"
        run("dpkg-deb", "--build", "--root-owner-group", tree, package)
        return package

    def release(self, name: str, version: str) -> None:
        package = shutil.move(self.made(name, version), self.repo)
        data = Path(package).read_bytes()
        entry = (
            f"{control(name, version)}Filename: ./{Path(package).name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )
        with (self.repo / "Packages").open("a") as file:
            file.write(entry)


def control(name: str, version: str) -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
        "Description: made for a test\n"
    )


class Fedora(Distribution):
    """dnf and rpm, which take another root as an argument only."""

    def __init__(self, here: Path) -> None:
        super().__init__(here)
        settings = here / "dnf.conf"
        settings.write_text(f"[main]\ngpgcheck=0\n[own]\nname=own\nbaseurl=file://{self.repo}\n")
        for name, words in (
            ("dnf", f"-c {settings} --installroot={self.root} --releasever=1"),
            ("rpm", f"--root={self.root}"),
        ):
            program = self.bin / name
            program.write_text(f'#!/bin/sh\nexec {shutil.which(name, path=PATH)} {words} "$@"\n')
            program.chmod(0o755)
        run("createrepo_c", "-q", self.repo)

    def release(self, name: str, version: str) -> None:
        specification = self.here / f"{name}.spec"
        specification.write_text(
            textwrap.dedent(f"""\
                Name: {name}
                Version: {version}
                Release: 1
                Summary: made for a test
                License: none
                BuildArch: noarch
                %description
                made for a test
                %install
                mkdir -p %{{buildroot}}/usr/share/{name} %{{buildroot}}/etc
                echo {version} >%{{buildroot}}/usr/share/{name}/version
                echo of {version} >%{{buildroot}}/etc/{name}.conf
                %files
                /usr/share/{name}/version
                %config(noreplace) /etc/{name}.conf
                """)
        )
        places = ["--define", f"_topdir {self.here}/build", "--define", f"_rpmdir {self.repo}"]
        run("rpmbuild", "-bb", "--quiet", *places, specification)
        run("createrepo_c", "-q", self.repo)


@pytest.fixture(params=MANAGERS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Distribution:
    return Debian(tmp_path) if request.param == "apt" else Fedora(tmp_path)


@pytest.fixture
def step(bundle_with: Callable[..., object], machine: Distribution) -> Callable[..., dict[str, object]]:
    manager = "apt" if isinstance(machine, Debian) else "dnf"
    return lambda **keys: {"package": {"name": "tool", "manager": manager, **keys}, "timeout_s": 40}


@pytest.fixture
def previewed(bundle_with):
    def previewed(step):
        bundle = bundle_with(step)
        return compile_preview(bundle, "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1")

    return previewed


CHANGED, UNCHANGED = (0, "hamgr: changed"), (0, "hamgr: unchanged")


def test_a_package_comes_is_left_alone_and_goes(machine, step, compiled, previewed):
    machine.release("tool", "1.0")
    assert machine.last(previewed(step())) == (0, "hamgr: would change")
    assert machine.last(compiled(step(), verb=Verb.VERIFY)) == (1, "hamgr: tool is not installed")
    assert machine.has("tool") == ""
    assert machine.last(compiled(step())) == CHANGED, machine.told
    assert machine.has("tool") == "1.0"
    for script in (compiled(step()), compiled(step(), verb=Verb.VERIFY), previewed(step())):
        assert machine.last(script) == UNCHANGED, machine.told
    gone = step(state="absent")
    assert machine.last(previewed(gone)) == (0, "hamgr: would change")
    assert machine.last(compiled(gone, verb=Verb.VERIFY))[0] == 1
    assert machine.last(compiled(gone)) == CHANGED, machine.told
    assert machine.has("tool") == ""
    assert machine.last(compiled(gone)) == UNCHANGED


def test_versions_go_up_and_down_and_latest_asks_the_repository(machine, step, compiled, previewed):
    for version in ("1.0", "1.1", "2.0"):
        machine.release("tool", version)
    for version in ("1.0", "1.1", "1.0"):
        assert machine.last(compiled(step(version=version))) == CHANGED, machine.told
        assert machine.has("tool") == version
        assert machine.last(compiled(step(version=version), verb=Verb.VERIFY)) == UNCHANGED, machine.told
    assert machine.last(compiled(step())) == UNCHANGED  # any version will do
    assert machine.last(compiled(step(state="latest"))) == CHANGED, machine.told
    assert machine.has("tool") == "2.0"
    assert machine.last(compiled(step(state="latest"))) == UNCHANGED, machine.told
    machine.release("tool", "2.1")
    assert machine.last(previewed(step(state="latest"))) == UNCHANGED  # a look does not fetch the lists
    assert machine.last(compiled(step(state="latest"))) == CHANGED, machine.told
    assert machine.has("tool") == "2.1"


def test_what_does_not_exist_is_one_sentence(machine, step, compiled):
    machine.release("tool", "1.0")
    told = "hamgr: there is no package tool2 for this node"
    assert machine.last(compiled(step(name="tool2"))) == (1, told)
    assert machine.last(compiled(step(version="9.9"))) == (1, "hamgr: cannot install tool")
    assert machine.has("tool") == ""
    shutil.rmtree(machine.repo)
    told = "hamgr: the lists of packages cannot be fetched"
    assert machine.last(compiled(step(state="latest"))) == (1, told)


def test_a_configuration_that_was_changed_on_the_node_stays_and_nobody_is_asked(machine, step, compiled):
    machine.release("tool", "1.0")
    assert machine.last(compiled(step())) == CHANGED, machine.told
    assert machine.configuration("tool").read_text() == "of 1.0\n"
    machine.configuration("tool").write_text("of the operator\n")
    machine.release("tool", "1.1")
    assert machine.last(compiled(step(state="latest"))) == CHANGED, machine.told
    assert machine.has("tool") == "1.1"
    assert machine.configuration("tool").read_text() == "of the operator\n"


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    return Debian(tmp_path)


APT_TOOL = {"package": {"name": "tool", "manager": "apt"}}


def test_what_dpkg_left_by_half_is_completed(debian, compiled):
    debian.release("tool", "1.0")
    run("dpkg", "--unpack", debian.made("tool", "1.0"), **debian.environment)
    assert debian.last(compiled(APT_TOOL, verb=Verb.VERIFY)) == (1, "hamgr: tool is not installed")
    assert debian.last(compiled(APT_TOOL)) == CHANGED, debian.told
    assert debian.last(compiled(APT_TOOL, verb=Verb.VERIFY)) == UNCHANGED
    assert debian.configuration("tool").read_text() == "of 1.0\n"


LOCKED = "hamgr: another program has a lock of the package manager; run this again when it is done"


@pytest.mark.parametrize("lock", ["lists/lock", "archives/lock", "lock-frontend", "lock"])
def test_another_programs_lock_is_waited_for_until_half_of_the_steps_time_is_over(debian, compiled, lock):
    debian.release("tool", "1.0")
    run("apt-get", "-q", "update", **debian.environment)
    newest = {"package": {"name": "tool", "state": "latest"}}
    with debian.lock(lock).open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        assert debian.last(compiled({**newest, "timeout_s": 2})) == (1, LOCKED), debian.told
        assert debian.has("tool") == ""
        release = threading.Timer(1.0, fcntl.lockf, (held, fcntl.LOCK_UN))
        release.start()
        assert debian.last(compiled({**newest, "timeout_s": 60})) == CHANGED, debian.told
        release.join()
    assert debian.has("tool") == "1.0"

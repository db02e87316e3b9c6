"""`package` steps against package managers whose packages are files, and the real package database."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hamgr.bundles import RenderError, compile_preview
from statemachine.words import Verb

# Each package is a file with its version: in `installed`, in `lists` (what the node has heard of) and in
# `repo` (what there is). What was asked is in `calls`, `broken` says what does not work.
COMMON = r"""#!/bin/sh
here=$FAKE
broken=; [ ! -f "$here/broken" ] || read -r broken <"$here/broken"
version_of() { [ -f "$1" ] && cat "$1"; }
refresh() { [ "$broken" != mirror ] || exit 100; cp "$here"/repo/* "$here/lists/"; }
call() { printf '%s\n' "$*" >>"$here/calls"; }
"""
APT = {
    "dpkg-query": r"""
[ "$broken" != database ] || { echo 'dpkg-query: error: parsing file' >&2; exit 2; }
for name; do :; done
[ -f "$here/installed/$name" ] || { echo "no packages found matching $name" >&2; exit 1; }
if [ -f "$here/half/$name" ]; then echo "half-configured $(cat "$here/installed/$name")"
else echo "installed $(cat "$here/installed/$name")"; fi
""",
    "dpkg": r"""
case "$*" in *--configure*) ;; *) exit 2 ;; esac
rm -f "$here"/half/*
""",
    "apt-cache": r"""
[ "$1" = policy ] || exit 2
[ "$2" != virtual ] || { printf 'virtual:\n  Installed: (none)\n  Candidate: (none)\n'; exit; }
[ ! -f "$here/lists/$2" ] || printf '%s:\n  Installed: x\n  Candidate: %s\n' "$2" "$(cat "$here/lists/$2")"
""",
    "apt-get": r"""
[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 9
all="$*"; words=
while [ $# -gt 0 ]; do
  case $1 in -o) shift ;; -*) ;; *) words="$words $1" ;; esac
  shift
done
set -- $words
call "apt-get $*"
printf '%s\n' "$all" >>"$here/options"
verb=$1; shift
case $verb in
update) refresh ;;
install)
  [ "$broken" != install ] || { echo 'E: Unmet dependencies' >&2; exit 100; }
  [ "$broken" != liar ] || exit 0
  for word; do
    name=${word%%=*}; version=$(cat "$here/lists/$name") || exit 100
    [ "$word" = "$name" ] || version=${word#*=}
    echo "$version" >"$here/installed/$name"
  done ;;
remove) for name; do rm "$here/installed/$name"; done ;;
esac
""",
}
DNF = {
    "rpm": r"""
[ "$broken" != database ] || { echo 'error: cannot open Packages database' >&2; exit 1; }
for name; do :; done
[ -f "$here/installed/$name" ] || { echo "package $name is not installed"; exit 1; }
echo "0:$(cat "$here/installed/$name")"
""",
    "dnf": r"""
all="$*"; words=
while [ $# -gt 0 ]; do
  case $1 in --qf) shift ;; -*) ;; *) words="$words $1" ;; esac
  shift
done
set -- $words
verb=$1; shift
case $verb in
repoquery) version_of "$here/lists/$1"; exit ;;
check-update)
  [ -f "$here/lists/$1" ] || exit 0
  [ "$(cat "$here/lists/$1")" = "$(cat "$here/installed/$1")" ] || exit 100
  exit 0 ;;
esac
call "dnf $verb $*"
printf '%s\n' "$all" >>"$here/options"
case $verb in
makecache) refresh ;;
install|upgrade|downgrade)
  [ "$broken" != install ] || { echo 'Error: Unable to find a match' >&2; exit 1; }
  [ "$broken" != liar ] || exit 0
  for word; do
    name=${word%%-*}
    version=$(cat "$here/lists/$name") || exit 1
    [ "$word" = "$name" ] || version=${word#*-}-1
    [ "$verb" != install ] || [ ! -f "$here/installed/$name" ] || continue # it is there: nothing to do
    echo "$version" >"$here/installed/$name"
  done ;;
remove) for name; do rm "$here/installed/$name"; done ;;
esac
""",
}
TOOLS = ("sh", "env", "sed", "cat", "cp", "rm", "mkdir", "dirname", "date")


@dataclass
class Machine:
    """A host (not a practice node) with one package manager and nothing of the real one."""

    here: Path
    manager: str
    shell: Sequence[str]

    def run(self, script: bytes, **environment: str) -> subprocess.CompletedProcess[str]:
        file = self.here / "script"
        file.write_bytes(script)
        return subprocess.run(
            [*self.shell, str(file)],
            env={
                "PATH": str(self.here / "bin"),
                "FAKE": str(self.here),
                "HAMGR_STATE": str(self.here / "state"),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def last(self, script: bytes) -> tuple[int, str]:
        done = self.run(script)
        return done.returncode, (done.stdout + done.stderr).strip().split("\n")[-1]

    def put(self, where: str, **packages: str) -> None:
        for name, version in packages.items():
            (self.here / where / name).write_text(f"{version}\n")

    def installed(self) -> dict[str, str]:
        return {file.name: file.read_text().strip() for file in (self.here / "installed").iterdir()}

    def calls(self) -> list[str]:
        """What the manager was asked to do since the last time."""
        file = self.here / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


def machine_with(here: Path, manager: str, shell: Sequence[str]) -> Machine:
    for name in ("bin", "installed", "lists", "repo", "half"):
        (here / name).mkdir(parents=True)
    for name, text in (APT if manager == "apt" else DNF).items():
        program = here / "bin" / name
        program.write_text(COMMON + text)
        program.chmod(0o755)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (here / "bin" / tool).symlink_to(found)
    return Machine(here, manager, [shutil.which(shell[0]) or "sh", *shell[1:]])


@pytest.fixture(params=["apt", "dnf"])
def machine(request, any_node, tmp_path) -> Machine:
    return machine_with(tmp_path / "machine", request.param, any_node.shell)


@pytest.fixture
def apt(tmp_path) -> Machine:
    return machine_with(tmp_path / "machine", "apt", ("sh",))


@pytest.fixture
def previewed(bundle_with) -> Callable[..., bytes]:
    def previewed(step):
        return compile_preview(
            bundle_with(step), "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1"
        )

    return previewed


def package(**keys):
    return {"package": keys}


TWO = package(names=["curl", "gpp"])


def test_packages_are_installed_once_and_only_those_that_are_missing(machine, compiled, previewed):
    machine.put("lists", curl="7.8-1", gpp="12-1")
    machine.put("installed", curl="7.7-1")
    assert machine.run(previewed(TWO)).stdout == "would install gpp 12-1\nhamgr: would change\n"
    assert machine.calls() == []
    assert machine.last(compiled(TWO, verb=Verb.VERIFY)) == (1, "hamgr: gpp is not installed")
    assert machine.last(compiled(TWO)) == (0, "hamgr: changed")
    assert machine.calls() == [f"{'apt-get' if machine.manager == 'apt' else 'dnf'} install gpp"]
    assert machine.installed() == {"curl": "7.7-1", "gpp": "12-1"}
    assert machine.last(compiled(TWO)) == (0, "hamgr: unchanged")
    assert machine.last(compiled(TWO, verb=Verb.VERIFY)) == (0, "hamgr: unchanged")
    assert machine.last(previewed(TWO)) == (0, "hamgr: unchanged")
    assert machine.calls() == []


def test_packages_are_removed_if_they_are_there(machine, compiled, previewed):
    gone = package(name="curl", state="absent")
    assert machine.last(compiled(gone)) == (0, "hamgr: unchanged")
    machine.put("installed", curl="7.8-1")
    assert machine.last(compiled(gone, verb=Verb.VERIFY)) == (1, "hamgr: curl 7.8-1 is installed")
    assert machine.run(previewed(gone)).stdout == "would remove curl 7.8-1\nhamgr: would change\n"
    assert machine.last(compiled(gone)) == (0, "hamgr: changed")
    assert machine.installed() == {}


def test_latest_fetches_the_lists_first_and_a_look_never_does(machine, compiled, previewed):
    latest = package(name="curl", state="latest")
    machine.put("installed", curl="7.7-1")
    machine.put("lists", curl="7.7-1")
    machine.put("repo", curl="7.9-1")
    assert machine.last(previewed(latest)) == (0, "hamgr: unchanged")
    assert machine.last(compiled(latest, verb=Verb.VERIFY)) == (0, "hamgr: unchanged")
    assert machine.calls() == []
    assert machine.last(compiled(latest)) == (0, "hamgr: changed")
    assert machine.installed() == {"curl": "7.9-1"}
    machine.put("lists", curl="8.0-1")
    assert machine.run(previewed(latest)).stdout == (
        "would upgrade curl from 7.9-1 to 8.0-1\nhamgr: would change\n"
    )
    told = "hamgr: curl is installed as 7.9-1, and 8.0-1 is there"
    assert machine.last(compiled(latest, verb=Verb.VERIFY)) == (1, told)


def test_a_version_is_installed_whether_it_is_newer_or_older(machine, compiled):
    machine.put("lists", curl="9.0-1")
    for version in ("7.8", "7.9", "7.7"):
        wanted = f"{version}-1" if machine.manager == "apt" else version
        step = package(name="curl", version="{{ wanted }}")
        assert machine.last(compiled(step, wanted=wanted)) == (0, "hamgr: changed")
        assert machine.installed() == {"curl": f"{version}-1"}
        assert machine.last(compiled(step, wanted=wanted)) == (0, "hamgr: unchanged")
    told = "hamgr: curl is installed as 7.7-1, not 7.8-1"
    assert machine.last(compiled(package(name="curl", version="7.8-1"), verb=Verb.VERIFY)) == (1, told)


def test_a_package_that_the_node_has_not_heard_of_makes_it_fetch_the_lists(machine, compiled, previewed):
    step = package(name="curl")
    machine.put("repo", curl="7.8-1")
    told = "would install curl (of which this node has not heard yet)\nhamgr: would change\n"
    assert machine.run(previewed(step)).stdout == told
    assert machine.last(compiled(step)) == (0, "hamgr: changed")
    assert [call.split()[1] for call in machine.calls()] == [
        "update" if machine.manager == "apt" else "makecache",
        "install",
    ]
    none = package(name="crul")
    assert machine.last(compiled(none)) == (1, "hamgr: there is no package crul for this node")
    assert "install" not in {call.split()[1] for call in machine.calls()}


BROKEN = {
    "mirror": "hamgr: the lists of packages cannot be fetched",
    "install": "hamgr: cannot install curl",
    "liar": "hamgr: curl is not installed, though the package manager says that all is done",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_manager_that_does_not_succeed_fails_the_step_in_one_sentence(machine, compiled, fault):
    machine.put("repo", curl="7.8-1")
    (machine.here / "broken").write_text(fault)
    assert machine.last(compiled(package(name="curl"))) == (1, BROKEN[fault])
    assert machine.installed() == {}


def test_a_package_database_that_cannot_be_read_is_not_a_missing_package(machine, compiled, previewed):
    (machine.here / "broken").write_text("database")
    for step in (package(name="curl"), package(name="curl", state="absent")):
        for script in (compiled(step), compiled(step, verb=Verb.VERIFY), previewed(step)):
            code, told = machine.last(script)
            assert code == 1
            assert told.startswith("hamgr: the package database cannot be read")
    assert machine.calls() == []


def test_what_was_installed_by_half_is_completed(apt, compiled):
    apt.put("lists", curl="7.8-1")
    apt.put("installed", curl="7.8-1")
    apt.put("half", curl="")
    assert apt.last(compiled(package(name="curl"), verb=Verb.VERIFY)) == (1, "hamgr: curl is not installed")
    gone = package(name="curl", state="absent")
    assert apt.last(compiled(gone, verb=Verb.VERIFY)) == (1, "hamgr: curl 7.8-1 is installed")
    assert apt.last(compiled(package(name="curl"))) == (0, "hamgr: changed")
    assert not list((apt.here / "half").iterdir())


def test_nobody_is_asked_recommendations_stay_away_and_locks_are_waited_for(apt, compiled):
    apt.put("lists", curl="7.8-1", gpp="1")
    apt.run(compiled({**package(name="curl"), "timeout_s": 120}))
    apt.run(compiled(package(name="gpp", recommends=True)))
    first, second = (apt.here / "options").read_text().splitlines()
    for option in ("-y", "DPkg::Lock::Timeout=60", "--force-confold", "--no-install-recommends"):
        assert option in first
    assert "DPkg::Lock::Timeout=150" in second
    assert "--install-recommends" in second


def test_a_virtual_package_is_not_installed_for_its_name(apt, compiled):
    apt.put("repo", curl="7.8-1")
    assert apt.last(compiled(package(name="virtual"))) == (
        1,
        "hamgr: there is no package virtual for this node",
    )


def test_a_node_without_a_package_manager_says_so(apt, compiled):
    for name in APT:
        (apt.here / "bin" / name).unlink()
    told = "hamgr: there is neither apt-get nor dnf on this node; use a script for its packages"
    assert apt.last(compiled(package(name="curl"))) == (1, told)
    told = "hamgr: there is no dnf on this node; is `manager` right?"
    assert apt.last(compiled(package(name="curl", manager="dnf"))) == (1, told)


def test_a_practice_node_only_writes_down_what_it_was_asked_for(any_node, compiled, previewed):
    for name in ("apt-get", "dpkg", "dnf"):
        any_node.install(name, '#!/bin/sh\ntouch "$HAMGR_ROOT/called"\n')
    step = package(name="curl", version="1.2")
    assert any_node.run(previewed(step)).stdout == "would install curl 1.2\nhamgr: would change\n"
    assert any_node.run(compiled(step)).stdout.splitlines()[-2:] == [
        "hamgr: practice node: curl is only noted, not installed",
        "hamgr: changed",
    ]
    assert any_node.run(compiled(step)).stdout == "hamgr: unchanged\n"
    assert any_node.run(compiled(step, verb=Verb.VERIFY)).returncode == 0
    assert any_node.run(compiled(package(name="curl", state="absent"))).stdout.endswith("hamgr: changed\n")
    assert any_node.run(compiled(step, verb=Verb.VERIFY)).returncode == 1
    assert not (any_node.root / "called").exists()


def test_the_real_package_database_is_understood(apt, compiled, previewed):
    for name in ("dpkg-query", "apt-cache"):
        (apt.here / "bin" / name).unlink()
        (apt.here / "bin" / name).symlink_to(shutil.which(name) or "/missing")
    told = subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", "dpkg"], check=True, capture_output=True, text=True
    ).stdout
    for step in (package(name="dpkg"), package(name="dpkg", version=told)):
        assert apt.last(compiled(step)) == (0, "hamgr: unchanged")
        assert apt.last(compiled(step, verb=Verb.VERIFY)) == (0, "hamgr: unchanged")
    assert apt.last(previewed(package(name="dpkg", version="0.1"))) == (0, "hamgr: would change")
    assert apt.last(compiled(package(name="no-such-package"), verb=Verb.VERIFY))[0] == 1
    assert apt.calls() == []


NAMES = ["foo-", "-y", "foo*", "a b", "a;b", "foo/bar", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_a_manager_would_take_for_something_else_is_refused(compiled, name):
    with pytest.raises(RenderError) as caught:
        compiled(package(name="{{ name }}"), name=name)
    assert "`name` must be the name of a package" in str(caught.value)

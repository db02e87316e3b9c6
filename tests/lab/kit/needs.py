"""Says why this machine cannot hold a lab, in words for the person who has to change that."""

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "dbus-daemon": "dbus",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "systemctl": "systemd",
    "tc": "iproute2",
    "unshare": "util-linux",
}
"""Each tool that the lab runs, and the Debian package that has it."""
SYSTEMD = Path("/lib/systemd/systemd")
TAP = Path("/dev/net/tun")
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
TRIAL_TIMEOUT_S = 10.0


def cgroup_root() -> Path | None:
    """Return where cgroup v2 is mounted; None when it is not."""
    return next((root for root in CGROUPS if (root / "cgroup.procs").exists()), None)


def missing() -> str:
    """Return what a lab needs and is not here, one short sentence; empty when a lab can be made."""
    if os.geteuid() != 0:
        return "need root"
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = {package for name, package in PACKAGES.items() if not shutil.which(name, path=search)}
    if not SYSTEMD.exists():
        absent.add("systemd")
    if absent:
        return f"need the packages {' '.join(sorted(absent))}"
    return _kernel_lacks()


def _kernel_lacks() -> str:
    root = cgroup_root()
    if root is None:
        return "need cgroup v2 mounted"
    trial = root / f"hamgr-trial-{os.getpid()}"
    try:
        trial.mkdir()
        complete = (trial / "cgroup.freeze").exists() and (trial / "cgroup.kill").exists()
        trial.rmdir()
    except OSError as error:
        return f"need to make cgroups ({error})"
    if not complete:
        return "need Linux 5.14 or newer (cgroup.kill)"
    if not TAP.exists():
        return f"need {TAP}"
    namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork"]
    made = subprocess.run(
        ["unshare", *namespaces, "true"], capture_output=True, text=True, timeout=TRIAL_TIMEOUT_S, check=False
    )
    return f"need new namespaces ({made.stderr.strip()})" if made.returncode else ""

"""Makes a host's disk: the upper layer of an overlay over this machine's root.

1. A host starts with its own /etc/ssh, /etc/systemd/system, /root and /var/log; the rest is this machine's.
2. Nothing writes to the layer of a running host from outside: under a mounted overlay that is undefined.
3. What this machine may hold of an installed hamgr is hidden.
"""

import os
import shutil
import stat
from pathlib import Path

from tests.lab.kit.network import HOSTS_MAX, HUB, Network
from tests.lab.kit.processes import tool

OPAQUE = ("etc/systemd/system", "etc/ssh", "root", "var/log", *(f"etc/rc{level}.d" for level in "2345S"))
"""Directories that start empty: this machine's services, login files (slow ones too) and keys stay out."""

HIDDEN = ("etc/hamgr", "var/lib/hamgr", "etc/keepalived", "usr/sbin/policy-rc.d")
"""policy-rc.d forbids starting services at package installation; hosts are meant to start them."""

MASKED_UNITS = """
    systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket
    systemd-udevd-control.socket tmp.mount systemd-logind.service getty.target systemd-timesyncd.service
    systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
    systemd-modules-load.service systemd-remount-fs.service systemd-binfmt.service
    proc-sys-fs-binfmt_misc.automount systemd-machine-id-commit.service
    systemd-tmpfiles-setup-dev.service dev-mqueue.mount sys-kernel-config.mount sys-kernel-debug.mount
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount systemd-pstore.service
    e2scrub_reap.service systemd-sysusers.service systemd-firstboot.service
"""
"""What wants hardware, or takes its time to find out that it has none."""

SSHD_CONFIG = """Port 22
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxStartups 100:30:200
MaxSessions 100
HostKey /etc/ssh/ssh_host_ed25519_key
Subsystem sftp internal-sftp
"""
"""Without PAM: there is no logind, and PAM would wait 25 s for it at each login."""

JOURNALD_CONFIG = """[Journal]
Storage=volatile
RuntimeMaxUse=8M
ReadKMsg=no
Audit=no
"""
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def make_key(path: Path, comment: str) -> None:
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def make_disk(directory: Path, name: str, network: Network, login_key: str) -> None:
    """Make the disk of a host that has none; one that is there is left as it is.

    Args:
        login_key: The public key that may log in as root.
    """
    upper = directory / "upper"
    if upper.exists():
        return
    making = directory / "upper.new"
    shutil.rmtree(making, ignore_errors=True)
    for made in (making, directory / "root"):
        made.mkdir(parents=True, exist_ok=True)
    for path in OPAQUE:
        (making / path).mkdir(parents=True, exist_ok=True)
        os.setxattr(making / path, "trusted.overlay.opaque", b"y")
    for path in HIDDEN:
        (making / path).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(making / path, stat.S_IFCHR | 0o600, os.makedev(0, 0))  # an overlay's whiteout
    _put_files(making, name, network, login_key)
    _put_units(making / "etc/systemd/system")
    for made in making.rglob("*"):
        if made.is_dir() and not made.is_symlink():
            made.chmod(0o755)
    making.chmod(0o755)
    for private in ("root", "root/.ssh"):
        (making / private).chmod(0o700)
    making.rename(upper)


def _put_files(upper: Path, name: str, network: Network, login_key: str) -> None:
    hosts = [(network.address(HUB), HUB)]
    hosts += [(network.address(host), host) for host in (f"n{i}" for i in range(1, HOSTS_MAX + 1))]
    files = {
        "etc/hostname": f"{name}\n",
        "etc/machine-id": os.urandom(16).hex() + "\n",
        "etc/fstab": "",
        "etc/resolv.conf": "",
        "etc/hosts": "127.0.0.1 localhost\n" + "".join(f"{address} {host}\n" for address, host in hosts),
        "etc/ssh/sshd_config": SSHD_CONFIG,
        "etc/systemd/journald.conf": JOURNALD_CONFIG,
        "root/.ssh/authorized_keys": login_key,
    }
    for path, text in files.items():
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        (upper / path).write_text(text)
        (upper / path).chmod(0o600 if path.startswith("root/") else 0o644)
    make_key(upper / HOST_KEY, name)


def _put_units(units: Path) -> None:
    for unit in MASKED_UNITS.split():
        (units / unit).symlink_to("/dev/null")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir()
    (wanted / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")

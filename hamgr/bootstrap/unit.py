"""The systemd unit of a replica, hardened as far as what it does allows.

It runs as root, which owns its files, without root's powers but those that the virtual address needs.
`deploy/systemd/hamgrd.service` is this text with the usual places.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_UNIT = """\
# One replica of hamgr, written by hamgrd. The configuration: {config}
[Unit]
Description=hamgr replica
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --config {config}
# Reads renewed certificates; links that are up stay.
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
# EX_CONFIG: starting again would not help.
RestartPreventExitStatus=78
# The watchdog of the virtual address outlives the replica, and takes the address down.
KillMode=mixed
TimeoutStopSec=45
UMask=0077
ReadWritePaths={data} {etc}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# For the virtual address, and for nothing else.
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""

_GUARD = """\
# Gives this replica a new release of hamgr when there is an order, and takes it back; written by hamgrd.
[Unit]
Description=hamgr upgrade guard

[Service]
Type=oneshot
# From the release that an upgrade began with, as long as one is under way: the new one may not even start.
ExecStart=/bin/sh -c 'p={root}/guard; [ -x $$p/bin/python ] || p={root}/current; \\
    exec $$p/bin/python -m hamgr.commands guard-upgrade {data}'
# Not in the replica's sandbox: it writes below {root}, and restarts hamgrd.service.
UMask=0022
TimeoutStartSec=infinity
"""
_GUARD_PATH = """\
# Starts the upgrade guard when there is an order, also after a reboot in the middle; written by hamgrd.
[Unit]
Description=orders for the hamgr upgrade guard

[Path]
PathExists={data}/upgrade/order.json

[Install]
WantedBy=multi-user.target
"""
GUARD_UNITS = ("hamgrd-upgrade.service", "hamgrd-upgrade.path")


def guard_units(*, data: Path) -> dict[str, str]:
    """Return the units of the upgrade guard, by name; none where hamgr was not installed as a release."""
    prefix = Path(sys.prefix).resolve()
    root = prefix.parent.parent
    if prefix.parent.name != "releases" or not (root / "current").is_symlink():
        return {}
    texts = (_GUARD.format(root=root, data=data), _GUARD_PATH.format(data=data))
    return dict(zip(GUARD_UNITS, texts, strict=True))


def program() -> list[str]:
    """Return how hamgrd is started on this machine: by the link that an upgrade moves, where there is one."""
    folder = Path(sys.executable).parent
    current = Path(sys.prefix).parent.parent / "current"
    if current.is_symlink() and current.resolve() == Path(sys.prefix).resolve():
        folder = current / "bin"
    script = folder / "hamgrd"
    return [str(script)] if script.exists() else [str(folder / "python"), "-m", "hamgr.commands"]


def unit(*, config: Path, data: Path, words: Sequence[str] = ()) -> str:
    """Return the text of the unit, which starts `words`; by default hamgrd as it is installed here."""
    return _UNIT.format(program=shlex.join(words or program()), config=config, data=data, etc=config.parent)

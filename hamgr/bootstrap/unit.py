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

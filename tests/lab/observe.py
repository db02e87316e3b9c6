"""Questions that lab tests ask of their hosts."""

import socket

from tests.lab.kit import Lab


def reaches(lab: Lab, source: str, target: str) -> bool:
    return lab.run(source, "ping", "-q", "-c1", "-W1", lab.address(target)).returncode == 0


def connect(lab: Lab, host: str, port: int = 22) -> socket.socket:
    with lab.in_hub():
        return socket.create_connection((lab.address(host), port), 2)


def boot_id(lab: Lab, host: str) -> str:
    return lab.run(host, "cat", "/proc/sys/kernel/random/boot_id", check=True).stdout

"""The lab: throw-away hosts on one Linux machine, without a hypervisor or a container engine.

A host is a network namespace on a bridge, PID, mount, UTS, IPC and cgroup namespaces, an overlay over this
machine's root (what it writes stays its own and survives a power cut), systemd as its first process, and
OpenSSH with a key of its own. The bridge lives in a namespace too, the hub: this machine's own network is
never touched. Everything needs root.

`lab.py` is the door: `Lab` and its verbs, with `inside.py` for what runs in the hosts. Behind them:
`machine.py` powers one host on and off, `disk.py` and `boot.sh` make its root, `network.py` is the bridge
and the cuts in it, `delay.py` and `relay.py` make it slow, `processes.py` holds on to daemons, `slots.py`
keeps the labs of several test runs apart, `needs.py` says why a machine cannot hold a lab.

What the lab cannot show: the kernel is shared. The clock, kernel modules and most sysctls are one for all
hosts (they may not change them), the page cache survives a power cut (so no test of a forgotten fsync), and
a host is no security boundary: it reads this machine's files.
"""

from tests.lab.kit.lab import Lab
from tests.lab.kit.processes import LabError, Process

__all__ = ["Lab", "LabError", "Process"]

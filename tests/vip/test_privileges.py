"""Without privileges, or with a wrong interface, there is no address but a clear sentence."""

import os
import subprocess
import sys

CODE = """
import sys, time
from hamgr.vip.holder import Holder
from hamgr.vip.settings import VIPSection
section = VIPSection(addresses=("10.0.0.5/24",), interface="nothere0")
holder = Holder(section, contact=lambda: None, replicas=dict, election_s_min=0.2)
holder.start()
deadline = time.monotonic() + 20
while not holder.trouble and time.monotonic() < deadline:
    time.sleep(0.01)
print(holder.trouble)
holder.pause(0.1)
holder.stop()
"""


def trouble(*before: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_without_capabilities_the_missing_ones_are_named() -> None:
    bare = ["setpriv", "--bounding-set=-net_admin,-net_raw"] if os.geteuid() == 0 else []
    said = trouble(*bare)
    assert "lacks CAP_NET_ADMIN and CAP_NET_RAW" in said
    assert "AmbientCapabilities=" in said


def test_an_interface_that_is_not_there_is_named_at_start() -> None:
    said = trouble()
    if os.geteuid() == 0:
        assert "there is no interface nothere0" in said
    else:
        assert "CAP_NET_ADMIN" in said

"""What comes into memory with the doors of this room, and what does not."""

import subprocess
import sys

PROGRAM = """\
import sys
import hamgr.bundles, hamgr.jobs.scripts, hamgr.jobs.previews
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"jinja2", "pydantic", "yaml"}))
print(*sorted(name for name in sys.modules if name.startswith("hamgr.bundles.")))
"""


def test_the_machinery_stays_out_of_memory_until_a_bundle_is_worked_with():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    libraries, own = done.stdout.split("\n")[:2]
    assert libraries == ""
    assert own.split() == [f"hamgr.bundles.{name}" for name in ("bundle", "doors", "problems")]

"""What could go wrong with a replica, looked at before it does: each finding with its reason and its way out.

`local` looks at this machine, `around` at the other replicas; nothing is changed by either.
"""

from typing import Any

from hamgr.config import Config


def examine(settings: Config) -> list[dict[str, Any]]:
    """Return what the running replica of `settings` finds, as JSON; blocks for some seconds at most."""
    from hamgr.doctor import around, local  # noqa: PLC0415 - for whoever asks, and not for each start

    found = [*local.findings(settings, running=True), *around.findings(settings, around.others(settings))]
    return [finding.to_dict() for finding in found]

"""The HTTP API of a replica; any replica answers any request, and this is the only room that serves HTTP.

A request's way: `middleware` gives it an id and a watchful eye, `auth` checks the token, `routes` finds the
handler, `query` and `parse` turn what came into checked values, `proposals` goes to the replica ("in by
commands, out by reading state"), `views` gives the state its JSON shape, and `problems` is the one table
of everything that can go wrong. `sse` keeps streams alive and bounded; `peers` talks to other replicas.
"""

from hamgr.api.app import build_app
from hamgr.api.context import ApiContext, JobLogs, Limits
from hamgr.api.server import serving

__all__ = ["ApiContext", "JobLogs", "Limits", "build_app", "serving"]

"""People who change who belongs to the cluster, and who leads it, while things go wrong.

They do what the product allows and nothing more careful: a change is asked of whoever claims to lead, also of
one that was cut off, and a learner is promoted whether or not it has caught up.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from hamgr.raft.protocol.membership import Configuration
from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.schedule import Schedule
from tests.consensus.trail import Trail

ACT_EVERY_S = 0.5


class Operators:
    """They know the hosts, and which of them were never a member."""

    def __init__(
        self, seed: str, hosts: Sequence[Host], schedule: Schedule, figures: Figures, trail: Trail
    ) -> None:
        self._random = Random(f"{seed}/operators")
        self._hosts = hosts
        self._schedule, self._figures, self._trail = schedule, figures, trail
        self._stopped = False

    def begin(self) -> None:
        self._schedule.after(self._random.expovariate(1 / ACT_EVERY_S), self._act)

    def stop(self) -> None:
        self._stopped = True

    def _act(self) -> None:
        if self._stopped:
            return
        leaders = [host for host in self._hosts if host.core is not None and host.core.leads]
        if leaders:
            act = self._random.choice((self._change, self._change, self._change, self._transfer))
            self._random.choice(leaders).call(act)
        if self._random.random() < 0.1:
            self._random.choice(self._hosts).call(self._resynchronise)
        self.begin()

    def _transfer(self, host: Host, core: Any, _machine: Any) -> None:
        to = self._random.choice(self._hosts)
        if core.transfer(to.id if self._random.random() < 0.5 else None):
            self._trail.note(host.name, "hands leadership over")
            self._figures.count("leadership transferred")

    def _resynchronise(self, host: Host, core: Any, machine: Any) -> None:
        """Have a replica's state replaced, as when it differs from the others'."""
        self._trail.note(host.name, "wants a snapshot")
        self._figures.count("snapshot wanted")
        machine.may_go_back = True
        core.resynchronise()

    def _change(self, host: Host, core: Any, _machine: Any) -> None:
        now: Configuration = core.configuration
        other = self._random.choice(self._hosts)
        if now.member(other.id) is None:
            after, what = now.with_learner(other.member), "learner added"
            self._install(other, after)
        elif other.id not in now.voter_ids:
            after, what = now.promoted(other.id), "learner promoted"
        elif len(now.voters) > 1:
            after, what = now.without(other.id), "member removed"
        else:
            return
        self._trail.note(host.name, "is asked:", what, other.name)
        core.change(after, lambda refusal: self._answered(what, host, other, refusal))

    def _answered(self, what: str, host: Host, other: Host, refusal: str) -> None:
        self._trail.note(host.name, what, other.name, refusal or "done")
        self._figures.count("change refused" if refusal else what)

    def _install(self, host: Host, configuration: Configuration) -> None:
        """Start a replica that was never there, as a learner of what its operator knows."""
        if host.life == 0:
            host.initial = configuration
            self._schedule.after(self._random.uniform(0.0, 0.3), self._start, host)

    def _start(self, host: Host) -> None:
        if host.core is None:
            host.start()

"""The guard: a process beside the replica that installs, switches, restarts, and takes it all back.

1. It does what `order.json` says, from the beginning or from where another guard was killed.
2. Until the link is switched, the replica that runs is not touched; what fails before that changes nothing.
3. After that, either the new release is well within its deadline, or the one before runs again.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from hamgr import config
from hamgr.upgrade.health import Health, Seen, wait_well
from hamgr.upgrade.orders import Desk, Order, Progress
from hamgr.upgrade.releases import GUARD, CannotInstall, Releases
from hamgr.upgrade.restarting import CannotRestart, Restarting, restarting_of
from hamgr.upgrade.settings import UpgradeSection
from statemachine.upgrading import ENDED, UpgradePhase

BACK_PATIENCE = 2.0
"""How much longer the way back may take: there is nothing else to go back to."""

log = logging.getLogger(__name__)


def run(data_dir: Path) -> None:
    """Do what the order in a data folder says; return when there is none, or another guard does it.

    Raises:
        ConfigError: The replica's configuration cannot be used; the order stays.
    """
    desk = Desk(data_dir)
    with desk.guarding() as ours:
        order = desk.order() if ours else None
        if order is None:
            return
        settings = config.load(Path(order.config))
        Guard(
            desk=desk,
            order=order,
            settings=settings.upgrade,
            restarting=restarting_of(settings.upgrade.restart),
            look=Health(settings).look,
        ).carry_out()


class Guard:
    """Carries out one order."""

    def __init__(
        self,
        *,
        desk: Desk,
        order: Order,
        settings: UpgradeSection,
        restarting: Restarting,
        look: Callable[[], Seen],
    ) -> None:
        self._desk, self._order, self._settings = desk, order, settings
        self._restarting, self._look = restarting, look
        self._releases = Releases(root=Path(order.root))

    def carry_out(self) -> None:
        """Do what is left to do; afterwards the order is gone and the progress says how it ended."""
        before = self._desk.progress()
        phase = before.phase if before is not None and before.order == self._order.id else None
        if phase not in ENDED:
            if phase in (None, UpgradePhase.INSTALLING):
                self._tell(UpgradePhase.INSTALLING, f"{self._order.name} installs {self._order.release}")
                installed = self._install()
            else:
                installed = True
            if installed:
                self._take_over()
        (self._releases.root / GUARD).unlink(missing_ok=True)
        self._desk.end()

    def _install(self) -> bool:
        order, releases = self._order, self._releases
        try:
            releases.switch(order.before, link=GUARD)
            releases.make(order.release, order.before, [Path(path).read_bytes() for path in order.wheels])
            releases.check(order.release, Path(order.config))
        except (CannotInstall, OSError) as error:
            self._tell(UpgradePhase.FAILED, f"{order.name} runs {order.before} as before: {error}")
            return False
        return True

    def _take_over(self) -> None:
        order = self._order
        self._tell(UpgradePhase.RESTARTING, f"{order.name} restarts with {order.release}")
        trouble = self._run(order.release, settling=True)
        if not trouble:
            self._tell(UpgradePhase.DONE, f"{order.name} runs {order.release}")
            return
        log.error("%s did not come up (%s); %s is put back", order.release, trouble, order.before)
        why = f"{order.name}: {order.release} did not come up: {trouble}"
        again = self._run(order.before, patience=BACK_PATIENCE)
        if again:
            sentence = f"{why}; and {order.before} does not come up either: {again}; look in its log"
            self._tell(UpgradePhase.FAILED, sentence)
            return
        self._tell(UpgradePhase.ROLLED_BACK, f"{why}; {order.before} runs there again")

    def _run(self, release: str, *, settling: bool = False, patience: float = 1.0) -> str:
        """Switch to a release and restart; return why it is not well, empty when it is."""
        name, deadline_s = self._order.name, patience * self._settings.healthy_deadline_s

        def settles() -> None:
            if settling:
                self._tell(UpgradePhase.SETTLING, f"{name} answers with {release}")

        try:
            self._releases.switch(release)
            self._restarting.restart()
        except (OSError, CannotRestart) as error:
            return str(error)
        return wait_well(
            self._look, release, deadline_s=deadline_s, stable_s=self._settings.stable_s, on_answer=settles
        )

    def _tell(self, phase: UpgradePhase, sentence: str) -> None:
        log.info("%s: %s", phase, sentence)
        self._desk.put_progress(Progress(order=self._order.id, phase=phase, sentence=sentence))

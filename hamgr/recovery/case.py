"""The recovery as seen from one survivor: what it has, what the others report, and who still answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hamgr import config
from hamgr.config import Config
from hamgr.membership import credentials_of, raft_settings
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.recovery import alive, reading, survivor, switching
from hamgr.recovery.alive import Answer
from hamgr.recovery.comparison import Comparison, compare
from hamgr.recovery.reading import Log
from hamgr.recovery.survivor import CannotRecover, Survivor


def unfinished(path: Path, *, report: bool) -> Mapping[str, str] | None:
    """Finish a recovery that was cut short on this machine; return what it says, None when there is none.

    Raises:
        CannotRecover: It could not be finished, or only a report was asked for.
    """
    data_dir = config.load(path).data_dir
    plan = switching.plan_of(data_dir)
    if plan is None:
        return None
    if report:
        raise CannotRecover(switching.unfinished(data_dir))
    switching.finish(data_dir, plan)
    return plan.said


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This survivor; its replica is stopped.

    Attributes:
        path: Its configuration file.
    """

    path: Path
    settings: Config
    log: Log
    survivor: Survivor

    @classmethod
    def read(cls, path: Path) -> "Here":
        """Read configuration and data folder; nothing is changed.

        Raises:
            ConfigError: The configuration cannot be used.
            CannotStart: Nor can the certificate.
            CannotRecover: The replica runs, or its folder cannot be trusted.
        """
        settings = config.load(path)
        owner = credentials_of(settings).identity()
        expected = raft_settings(settings, owner, version=version("hamgr"))
        log = reading.read(settings, expected.initial)
        if (log.stored.cluster, log.stored.replica) != (owner.cluster, owner.id):
            raise CannotRecover(
                f"{settings.raft_dir} belongs to replica {log.stored.replica} of cluster "
                f"{log.stored.cluster}, but {settings.tls.certificate} is for {owner.id} of {owner.cluster}; "
                "name the right --config"
            )
        said = reading.report_of(log, name=settings.name, version=version("hamgr"))
        return cls(path=path, settings=settings, log=log, survivor=said)

    def compared(self, others: Sequence[Path]) -> Comparison:
        """Compare this survivor with the reports of others.

        Raises:
            CannotRecover: One cannot be read, or they do not belong together.
        """
        return compare([self.survivor, *(survivor.load(path) for path in others)])

    def check_chosen(self, found: Comparison) -> None:
        """Return if this survivor's log is the one to be used.

        Raises:
            CannotRecover: Another one's is; it is named.
        """
        chosen = found.chosen
        if chosen.replica != self.survivor.replica:
            raise CannotRecover(
                f"the log of {chosen.name} is to be used (last entry {chosen.last} of term "
                f"{chosen.last_term}, here {self.survivor.last} of term {self.survivor.last_term}); run this "
                f"on {chosen.name}, with the report of {self.survivor.name}"
            )

    def looked(self, found: Comparison) -> tuple[Answer, ...]:
        """Dial all other members, and return what each one answered.

        Raises:
            CannotRecover: A majority is left, or somebody answers who is in no report.
        """
        latest = found.chosen.members()
        me = ReplicaId(self.survivor.replica)
        others = {
            member.id: member
            for one in reversed(found.survivors)
            for member in one.members().members
            if member.id != me
        }
        answers = alive.look(others.values(), credentials_of(self.settings), self.survivor.cluster)
        alive.refuse_while_alive(found, latest, answers, me=me)
        return answers

"""What a replica tells its guard, and what the guard tells it: small files in `DATA/upgrade`, never half.

1. `order.json` is there as long as the guard has something to do; it removes it last.
2. `progress.json` names the order that it is about, so that what an earlier one left is not taken for news.
3. Whoever holds the lock is the guard; a process that ended, however it did, holds none.
"""

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from hamgr.bootstrap.places import write
from statemachine.upgrading import UpgradePhase

ORDER = "order.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One turn.

    Attributes:
        id: The upgrade's and the number of the try.
        name: The replica's, for sentences.
        release: To be run.
        before: To be run again when that does not come up.
        wheels: Files.
    """

    id: str
    name: str
    root: str
    release: str
    before: str
    config: str
    wheels: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an order is."""

    order: str
    phase: UpgradePhase
    sentence: str


class Desk:
    """The folder that both read and write."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "upgrade"

    def order(self) -> Order | None:
        return _read(self.folder / ORDER, lambda said: Order(**said))

    def put_order(self, order: Order) -> None:
        write(self.folder / ORDER, json.dumps(asdict(order)))

    def end(self) -> None:
        (self.folder / ORDER).unlink(missing_ok=True)

    def progress(self) -> Progress | None:
        return _read(self.folder / "progress.json", _progress)

    def put_progress(self, progress: Progress) -> None:
        write(self.folder / "progress.json", json.dumps(asdict(progress)))

    def put_wheel(self, name: str, data: bytes) -> Path:
        """Keep a wheel's bytes for the guard; returns where."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{name}.whl"
        write(path, data)
        return path

    @contextlib.contextmanager
    def guarding(self) -> Iterator[bool]:
        """Be the guard for as long as the context is open; yields False when another process is."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def _progress(said: dict[str, Any]) -> Progress:
    return Progress(order=said["order"], phase=UpgradePhase(said["phase"]), sentence=said["sentence"])


def _read(path: Path, made: Callable[[Any], T]) -> T | None:
    """Return what a file says; None when it is not there, or is not what this version writes."""
    try:
        return made(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None

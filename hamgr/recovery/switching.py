"""Puts the new cluster's files in the place of the old one's, whatever happens on the way.

1. Everything new is made beside the old, under names that nothing reads. Until all of it is durable, the old
   is in force, and what is there is thrown away by the next attempt.
2. Then a plan is written, durably: from then on the only way is forward. Each of its moves can be made again;
   a process that dies is followed by one that finishes the same plan. Meanwhile the replica does not start.
3. Nothing old is deleted: it keeps a name with the old cluster's id in it.
"""

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hamgr.bootstrap.places import rename, write
from hamgr.raft.store.storage import Storage
from hamgr.recovery.survivor import CannotRecover

PLAN = "recovery.json"
STAGED_RAFT, STAGED_KEYS = "raft.recovered", ".recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """`staged` becomes `final`; what was there is `kept`, if there was anything."""

    staged: str
    final: str
    kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is left to do.

    Attributes:
        said: What the operator is told at the end.
    """

    moves: tuple[Move, ...]
    said: dict[str, str]


def unfinished(data_dir: Path) -> str:
    """Say why a replica must not start with this data folder now; empty when it may."""
    if not (data_dir / PLAN).exists():
        return ""
    return (
        f"{data_dir / PLAN} is there: a recovery was cut short, and neither the old nor the new cluster is "
        "whole; give `hamgrd recover` again, which finishes it"
    )


def plan_of(data_dir: Path) -> Plan | None:
    """Return the plan that a recovery left unfinished; None when there is none.

    Raises:
        CannotRecover: It cannot be read.
    """
    path = data_dir / PLAN
    try:
        found = json.loads(path.read_text())
        return Plan(moves=tuple(Move(**move) for move in found["moves"]), said=dict(found["said"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CannotRecover(f"{path} cannot be read ({error}); keep all files, and report it") from error


def sweep(*staged: Path) -> None:
    """Remove what an attempt has left that was never in force; raises `OSError`."""
    for path in staged:
        if path.exists():
            shutil.rmtree(path)


def begin(data_dir: Path, moves: Sequence[tuple[Path, Path]], *, old: str, said: dict[str, str]) -> Plan:
    """Write the plan: from now on the new is what will be; raises `OSError`, and nothing has changed then.

    Args:
        moves: What is staged, and where it belongs, in the order in which it is moved.
        old: Goes into the names of what is kept.
    """
    plan = Plan(
        moves=tuple(
            Move(staged=str(staged), final=str(final), kept=str(_free(final, old))) for staged, final in moves
        ),
        said=said,
    )
    try:
        write(data_dir / PLAN, json.dumps(asdict(plan), indent=1) + "\n")
    except OSError:
        (data_dir / PLAN).unlink(missing_ok=True)
        raise
    return plan


def finish(data_dir: Path, plan: Plan) -> None:
    """Make all moves that are left, and forget the plan.

    Raises:
        CannotRecover: The disk refused; the same command goes on from here.
    """
    try:
        for move in plan.moves:
            _make(Path(move.staged), Path(move.final), Path(move.kept))
        for folder in {Path(move.staged).parent for move in plan.moves}:
            if folder.name == STAGED_KEYS:
                shutil.rmtree(folder, ignore_errors=True)
        (data_dir / PLAN).unlink()
    except OSError as error:
        raise CannotRecover(
            f"the new cluster is made, but not all is in its place ({error.filename}: {error.strerror}); "
            "mend that, and give the same command again: it goes on from here; hamgrd does not start before"
        ) from error
    with contextlib.suppress(OSError):  # a plan that comes back has nothing left to do
        Storage().sync_folder(data_dir)


def _make(staged: Path, final: Path, kept: Path) -> None:
    if not staged.exists():
        return  # it was moved before
    if final.exists() and not kept.exists():
        if final.is_dir():
            rename(final, kept)
        else:
            kept.hardlink_to(final)  # so that the file is there at every moment
            Storage().sync_folder(kept.parent)
    rename(staged, final)


def _free(final: Path, old: str) -> Path:
    """Return a name for what is at `final` that is not taken."""
    kept, number = final.with_name(f"{final.name}.{old}"), 1
    while kept.exists():
        number += 1
        kept = final.with_name(f"{final.name}.{old}-{number}")
    return kept

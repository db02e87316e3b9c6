"""Reads off a stopped replica's data folder what it knows: its report, and the state at the end of its log.

1. Not a byte is changed, and the folder is locked, shared, meanwhile.
2. What `hamgrd check` calls damaged is no survivor: its log may lack what it once acknowledged.
"""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime

from hamgr.config import Config
from hamgr.raft.core.library import NO_OP, REGULAR
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import KIND, Configurations
from hamgr.raft.protocol.membership import BadConfiguration, Configuration
from hamgr.raft.store import check, recovery
from hamgr.raft.store.identity import Stored, decode_identity
from hamgr.raft.store.records import LogEntry
from hamgr.raft.store.recovery import JournalDamaged, Recovered
from hamgr.raft.store.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from hamgr.recovery.survivor import (
    TAIL_MAX,
    TEXT_CHARS_MAX,
    CannotRecover,
    Entry,
    MemberPart,
    Run,
    Survivor,
)
from statemachine import codec, machine
from statemachine.model import State

SUBJECTS = ("node", "job", "name", "subject", "bundle", "token")
"""The fields of commands that say what they are about, in the order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a stopped replica has stored, checked.

    Attributes:
        entries: From the first that is kept to the last one.
        before: The configuration in force before any of `entries`.
    """

    stored: Stored
    recovered: Recovered
    snapshot: Snapshot | None
    entries: list[LogEntry]
    before: Configuration


def read(settings: Config, initial: Configuration) -> Log:
    """Read the data folder of a stopped replica.

    Args:
        initial: The members as the configuration file has them, for a log that names none.

    Raises:
        CannotRecover: The replica runs, or what it has stored cannot be trusted.
    """
    path = settings.raft_dir
    found = check.examine(path)
    if found.running:
        raise CannotRecover(
            f"replica {settings.name} runs, so its log goes on; stop it first: systemctl stop hamgrd"
        )
    if found.damages:
        raise CannotRecover(
            f"{found.damages[0]}; a log that is damaged may lack what was acknowledged, so recover with the "
            "other survivors, or restore a backup"
        )
    try:
        with check.shared(path / "lock") as ours:
            if not ours:
                raise CannotRecover(f"replica {settings.name} was just started; stop it first")
            stored = decode_identity((path / "identity").read_bytes())
            recovered = recovery.recover(path / "journal", (path / "journal").read_bytes())
            file = path / "snapshot"
            snapshot = decode_snapshot(file.read_bytes()) if file.exists() else None
            before = initial
            if snapshot is not None and snapshot.configuration:
                before = membership.decode(snapshot.configuration)
    except (OSError, JournalDamaged, SnapshotDamaged, BadConfiguration, ValueError) as error:
        raise CannotRecover(f"{path} cannot be read: {error}") from error
    entries = recovered.entries
    if snapshot is not None and (not entries or entries[-1][1] < snapshot.last[1]):
        entries = [snapshot.before_last, snapshot.last]
    return Log(stored=stored, recovered=recovered, snapshot=snapshot, entries=entries, before=before)


def report_of(log: Log, *, name: str, version: str) -> Survivor:
    """Return what is to be told to the other survivors.

    Raises:
        CannotRecover: The log names members in a way that only a later version knows.
    """
    snapshot = 0 if log.snapshot is None else log.snapshot.last[1]
    last = log.entries[-1][1] if log.entries else 0
    commit = min(max(log.recovered.barrier.commit, snapshot), last)
    members, since = _members(log)
    return Survivor(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version,
        cluster=log.stored.cluster,
        replica=log.stored.replica,
        name=name,
        folder=log.stored.folder.hex(),
        term=log.recovered.barrier.term,
        vote=log.recovered.barrier.vote,
        commit=commit,
        snapshot=snapshot,
        last=last,
        runs=_runs(log.entries),
        voters=tuple(_part(member) for member in members.voters),
        learners=tuple(_part(member) for member in members.learners),
        configuration=since,
        tail=tuple(describe(entry) for entry in log.entries if entry[1] > max(commit, last - TAIL_MAX)),
    )


def state_at_end(log: Log) -> State:
    """Return the state after the last entry, every entry of the log obeyed.

    Raises:
        CannotRecover: The log has entries that only a later version of hamgr understands.
    """
    state = State() if log.snapshot is None else log.snapshot.state
    reach = 0 if log.snapshot is None else log.snapshot.last[1]
    for command, index, _term in log.entries:
        kind = command[:1]
        if index <= reach or kind in (NO_OP, KIND):
            continue
        state, _outcome, bug = machine.apply_entry(state, command[1:])
        if kind != REGULAR or isinstance(bug, codec.LaterVersion):
            raise CannotRecover(
                f"entry {index} was written by a later version of hamgr; recover with that version, or a "
                "later one, installed on this machine"
            )
    return state


def describe(entry: LogEntry) -> Entry:
    """Return what an operator recognises an entry by; never its contents."""
    command, index, term = entry
    kind, body = command[:1], command[1:]
    if kind == NO_OP:
        return Entry(index=index, term=term, command="the first entry of a leader")
    if kind == KIND:
        try:
            names = "+".join(member.name for member in membership.decode(body).voters)
        except BadConfiguration:
            names = ""
        return Entry(index=index, term=term, command="a change of the replicas", subject=_cut(names))
    try:
        found = codec.decode_command(body)
    except codec.CodecError:
        return Entry(index=index, term=term, command=_cut(codec.command_name(body) or "unreadable"))
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    subject = next((fields[name] for name in SUBJECTS if isinstance(fields.get(name), str)), "")
    return Entry(
        index=index,
        term=term,
        command=type(found).__name__,
        at=float(fields.get("at", 0.0)),
        actor=_cut(str(fields.get("actor", ""))),
        subject=_cut(subject),
        request=_cut(str(fields.get("request_id", ""))),
    )


def _members(log: Log) -> tuple[Configuration, int]:
    reach = 0 if log.snapshot is None else log.snapshot.last[1]
    base = reach if log.snapshot is not None and log.snapshot.configuration else 0
    configurations = Configurations(log.before, base)
    try:
        configurations.appended(log.entries)
    except BadConfiguration as error:
        raise CannotRecover(f"the members in the log cannot be read: {error}") from error
    return configurations.current, configurations.index


def _runs(entries: list[LogEntry]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for _command, index, term in entries:
        if not runs or runs[-1].term != term:
            runs.append(Run(first=index, term=term))
    return tuple(runs)


def _part(member: membership.Member) -> MemberPart:
    return MemberPart(id=member.id, name=member.name, raft=member.raft, api=member.api)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"

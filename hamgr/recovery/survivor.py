"""What one survivor of a cluster knows, as a file of JSON that an operator carries to another survivor.

1. It holds no secrets and no contents: where the log begins and ends, the terms of its entries, the members,
   and of the entries that are not known to be committed what an operator needs to recognise them.
2. A report that contradicts itself is refused, so that nothing is decided by one that was cut or edited.
"""

import bisect
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hamgr.raft.protocol.membership import BadConfiguration, Configuration, Member, ReplicaId

REPORT_BYTES_MAX = 8 * 1024 * 1024
NUMBER_MAX = 1 << 62
TEXT_CHARS_MAX = 255
TAIL_MAX = 1_000
"""Entries that are described one by one, the newest; of more than that, only the number is said."""

Number = Annotated[int, Field(ge=0, lt=NUMBER_MAX, strict=True)]
Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


class CannotRecover(Exception):
    """Nothing was changed; the message is one sentence and its way out."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Run(_Part):
    """Entries of one term: from `first` on, up to the next run or the end of the log."""

    first: Number
    term: Number


class Entry(_Part):
    """An entry of the log, as far as an operator needs it.

    Attributes:
        at: Unix seconds, by the proposer's clock; 0 where the entry is no command.
        subject: What it is about, where it says so: a node, a job, a name.
    """

    index: Number
    term: Number
    command: Text
    at: float = 0.0
    actor: Text = ""
    subject: Text = ""
    request: Text = ""


class MemberPart(_Part):
    """A member of the cluster."""

    id: Text
    name: Text
    raft: Text
    api: Text = ""

    def member(self) -> Member:
        return Member(id=ReplicaId(self.id), name=self.name, raft=self.raft, api=self.api)


class Survivor(_Part):
    """One survivor.

    Attributes:
        folder: The id of its data folder, in hexadecimal.
        term, vote: What it has promised.
        commit: Up to here its entries are committed for sure; a lower bound.
        snapshot: The entry that its snapshot ends with; 0 without one.
        last: Its last entry; 0 for an empty log.
        runs: The terms of its entries, from the first one whose term it knows.
        voters, learners: The configuration in force at the end of its log, committed or not.
        configuration: The entry that this is from; 0: from the first configuration file.
        tail: Its entries after `commit`, at most `TAIL_MAX`, the newest.
    """

    report: Literal["hamgr survivor"] = "hamgr survivor"
    format: Literal[1] = 1
    made_at: str
    version: Text
    cluster: Text
    replica: Text
    name: Text
    folder: Text
    term: Number
    vote: Text | None
    commit: Number
    snapshot: Number
    last: Number
    runs: tuple[Run, ...]
    voters: tuple[MemberPart, ...]
    learners: tuple[MemberPart, ...] = ()
    configuration: Number = 0
    tail: tuple[Entry, ...] = Field(default=(), max_length=TAIL_MAX)

    @model_validator(mode="after")
    def _check(self) -> "Survivor":
        firsts = [run.first for run in self.runs]
        terms = [run.term for run in self.runs]
        if firsts != sorted(set(firsts)) or terms != sorted(set(terms)):
            raise ValueError("the terms of its entries are out of order")
        if bool(self.runs) != (self.last > 0) or (self.runs and firsts[-1] > self.last):
            raise ValueError("its last entry has no term")
        if not self.snapshot <= self.commit <= self.last or (self.runs and firsts[0] > max(self.commit, 1)):
            raise ValueError("its snapshot, its commit index and its log contradict each other")
        if terms and terms[-1] > self.term:
            raise ValueError("its last entry is of a later term than its own")
        expected = range(self.last - len(self.tail) + 1, self.last + 1)
        complete = len(self.tail) == min(self.last - self.commit, TAIL_MAX)
        if [entry.index for entry in self.tail] != list(expected) or not complete:
            raise ValueError("the entries that it describes are not the last of its log")
        try:
            self.members()
        except BadConfiguration as error:
            raise ValueError(f"its members: {error}") from error
        return self

    @property
    def last_term(self) -> int:
        """The term of the last entry; 0 for an empty log."""
        return self.runs[-1].term if self.runs else 0

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry; None where it is not known, or there is none."""
        place = bisect.bisect_right(self.runs, index, key=lambda run: run.first)
        return self.runs[place - 1].term if place and index <= self.last else None

    def members(self) -> Configuration:
        """Return the configuration at the end of its log."""
        return Configuration(
            tuple(one.member() for one in self.voters), tuple(one.member() for one in self.learners)
        )

    def encode(self) -> str:
        """Return the report as text."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def load(path: Path) -> Survivor:
    """Read a report.

    Raises:
        CannotRecover: It cannot be read, or is none.
    """
    again = "make it again on that replica: hamgrd recover --report"
    try:
        with path.open("rb") as file:
            data = file.read(REPORT_BYTES_MAX + 1)
        if len(data) > REPORT_BYTES_MAX:
            raise CannotRecover(f"{path}: larger than {REPORT_BYTES_MAX} bytes; this is no report")
        return Survivor.model_validate_json(data)
    except OSError as error:
        raise CannotRecover(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise CannotRecover(
            f"{path} is not a survivor's report{f' ({where})' if where else ''}: {what}; {again}"
        ) from error

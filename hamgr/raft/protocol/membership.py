"""Who belongs to the cluster: the configuration that the log carries, and which changes of it are safe.

1. A configuration is an entry of the log, whole, and is in force from the moment it is appended, committed
   or not (Raft, section 6; Ongaro's dissertation, section 4.1). Taking the entry back takes it out of force.
2. Two configurations in a row differ by one voter at most, so that their majorities always overlap.
3. A learner gets the log and counts for nothing. It is promoted when it has caught up; a voter that is made a
   learner is, for all majorities, a voter that is removed.
4. While fencing is armed for two voters, no other voter comes and none goes, but one that was fenced: what
   could be committed without it otherwise would be missing where it goes on (`docs/decisions/0018`).
"""

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

import msgpack

ReplicaId = NewType("ReplicaId", str)
"""The text of a UUID; it stays with a replica's certificate and data folder, whatever its addresses."""

FORMAT, FORMAT_ARMED = 1, 2
"""A version that knows nothing of fencing refuses the latter, naming it, rather than ignore what it means."""
PAIR = 2
MEMBERS_MAX = 64
TEXT_CHARS_MAX = 255


class BadConfiguration(ValueError):
    """The bytes are not a configuration of this version."""


class ChangeRefused(Exception):
    """The configuration must not follow the present one; the message is one sentence with the way out."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Member:
    """A replica as the others know it.

    Attributes:
        id: Never changes.
        name: For people.
        raft: `HOST:PORT`, where its peers reach it.
        api: Base URL of its HTTP API; empty when nobody needs it.
    """

    id: ReplicaId
    name: str
    raft: str
    api: str = ""

    def __post_init__(self) -> None:
        texts = (self.id, self.name, self.raft, self.api)
        if not all(isinstance(text, str) and len(text) <= TEXT_CHARS_MAX for text in texts):
            raise BadConfiguration("a member's field is no text, or too long")
        if str(UUID(self.id)) != self.id:
            raise BadConfiguration(f"{self.id!r} is not a UUID in lower case")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Voters and learners, each sorted by id.

    Attributes:
        armed: Each of the two voters goes on without the other one when it has fenced it, and only then.

    Raises:
        BadConfiguration: On construction: one is there twice, two share a name or an address, or fencing is
            armed for other than two voters.
    """

    voters: tuple[Member, ...] = ()
    learners: tuple[Member, ...] = ()
    armed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "voters", tuple(sorted(self.voters)))
        object.__setattr__(self, "learners", tuple(sorted(self.learners)))
        if len(self.members) > MEMBERS_MAX:
            raise BadConfiguration(f"{len(self.members)} members are more than {MEMBERS_MAX}")
        for what in ("id", "name", "raft"):
            if len({getattr(member, what) for member in self.members}) != len(self.members):
                raise BadConfiguration(f"two members share their {what}")
        if self.armed and len(self.voters) != PAIR:
            raise BadConfiguration(f"fencing is armed for {len(self.voters)} voters; it is for {PAIR} only")

    @property
    def members(self) -> tuple[Member, ...]:
        return self.voters + self.learners

    @property
    def voter_ids(self) -> frozenset[ReplicaId]:
        return frozenset(member.id for member in self.voters)

    @property
    def ids(self) -> frozenset[ReplicaId]:
        return frozenset(member.id for member in self.members)

    @property
    def quorum(self) -> int:
        """How many voters are a majority."""
        return len(self.voters) // 2 + 1

    def member(self, replica: ReplicaId) -> Member | None:
        return next((member for member in self.members if member.id == replica), None)

    def with_learner(self, member: Member) -> "Configuration":
        """Return this configuration with a new learner, or with new addresses for a present one."""
        learners = tuple(one for one in self.learners if one.id != member.id)
        return Configuration(self.voters, (*learners, member), self.armed)

    def with_fencing(self, armed: bool) -> "Configuration":
        """Return this configuration with fencing armed for its two voters, or not.

        Raises:
            ChangeRefused: There are not two voters.
        """
        if armed and len(self.voters) != PAIR:
            raise ChangeRefused(f"there are {len(self.voters)} voters; fencing is for {PAIR} only")
        return Configuration(self.voters, self.learners, armed)

    def promoted(self, replica: ReplicaId) -> "Configuration":
        """Return this configuration with a learner made a voter.

        Raises:
            ChangeRefused: It is not a learner.
        """
        member = self.member(replica)
        if member not in self.learners or member is None:
            raise ChangeRefused(f"replica {replica} is not a learner; add it as one first")
        rest = tuple(one for one in self.learners if one.id != replica)
        return Configuration((*self.voters, member), rest)

    def demoted(self, replica: ReplicaId) -> "Configuration":
        """Return this configuration with a voter made a learner.

        Raises:
            ChangeRefused: It is not a voter.
        """
        member = self.member(replica)
        if member is None or member not in self.voters:
            raise ChangeRefused(f"replica {replica} is not a voter; see `hamgr replica ls`")
        return Configuration(tuple(one for one in self.voters if one.id != replica), (*self.learners, member))

    def without(self, replica: ReplicaId) -> "Configuration":
        """Return this configuration without a member.

        Raises:
            ChangeRefused: It is none.
        """
        if self.member(replica) is None:
            raise ChangeRefused(f"replica {replica} is not a member; see `hamgr status`")
        return Configuration(
            tuple(one for one in self.voters if one.id != replica),
            tuple(one for one in self.learners if one.id != replica),
            self.armed and replica not in self.voter_ids,
        )


def check_change(before: Configuration, after: Configuration, *, fenced: bool = False) -> None:
    """Return if `after` may follow `before`.

    Args:
        fenced: The voter that goes is verified to be off.

    Raises:
        ChangeRefused: More than one voter would change, none would be left, or fencing is armed.
    """
    changed = before.voter_ids ^ after.voter_ids
    if before.armed and changed and not (fenced and after.voter_ids < before.voter_ids):
        raise ChangeRefused("fencing is armed for the two voters; disarm it before one comes or goes")
    if after.armed and changed:
        raise ChangeRefused("fencing is armed when the two voters are there already; do it afterwards")
    if len(changed) > 1:
        raise ChangeRefused("only one voter can be added or removed at a time; do it one after the other")
    if not after.voters:
        raise ChangeRefused("the last voter cannot be removed; a cluster needs one")


def encode(configuration: Configuration) -> bytes:
    """Return the configuration as an entry of the log holds it."""
    return bytes(
        msgpack.packb(
            [
                FORMAT_ARMED if configuration.armed else FORMAT,
                *(
                    [[member.id, member.name, member.raft, member.api] for member in members]
                    for members in (configuration.voters, configuration.learners)
                ),
            ]
        )
    )


def decode(data: bytes) -> Configuration:
    """Return the configuration that `data` holds.

    Raises:
        BadConfiguration: It holds none, or one of a later version.
    """
    try:
        version, *groups = msgpack.unpackb(data)
        voters, learners = ([_member(fields) for fields in group] for group in groups)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadConfiguration(f"it cannot be decoded: {error}") from error
    if version not in (FORMAT, FORMAT_ARMED):
        raise BadConfiguration(
            f"its format is {version}, and this version of hamgr reads {FORMAT} and {FORMAT_ARMED} only"
        )
    return Configuration(tuple(voters), tuple(learners), version == FORMAT_ARMED)


def _member(fields: list[str]) -> Member:
    replica, name, raft, api = fields
    return Member(id=ReplicaId(replica), name=name, raft=raft, api=api)

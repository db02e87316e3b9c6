"""Which members of the cluster still answer, proven by their certificates; asks nothing and tells nothing.

1. A member answers when a TLS handshake at its address ends with its certificate: whoever has its key runs
   there. No hello is said, so that no replica takes us for the one whose certificate we show.
2. No answer proves nothing: who is cut off from here may be well, and lead.
"""

import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.wire.tls import Credentials
from hamgr.recovery.comparison import Comparison
from hamgr.recovery.survivor import CannotRecover
from hamgr.security.authority import REPLICA, BadCertificate, identity_of

TIMEOUT_S = 3.0
DIALS_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found at a member's address.

    Attributes:
        alive: It proved to be this member.
        what: In a few words, for people.
    """

    member: Member
    alive: bool
    what: str


def look(
    members: Iterable[Member], credentials: Credentials, cluster: str, *, timeout_s: float = TIMEOUT_S
) -> tuple[Answer, ...]:
    """Dial members at the same time; return within about twice `timeout_s`, in the order of the members.

    Raises:
        CannotStart: The credentials cannot be used.
    """
    context = credentials.client_context()
    with ThreadPoolExecutor(DIALS_MAX) as pool:
        return tuple(pool.map(lambda member: _dial(member, context, cluster, timeout_s), members))


def refuse_while_alive(
    found: Comparison, latest: Configuration, answers: Iterable[Answer], *, me: ReplicaId
) -> None:
    """Return if the cluster cannot go on by itself, and nobody who answers is left out.

    Args:
        latest: The configuration at the end of the chosen log.

    Raises:
        CannotRecover: Those who answer and those who reported are a majority; or somebody answers whose log
            goes on, or is in no report.
    """
    alive = [answer.member for answer in answers if answer.alive and answer.member.id != me]
    reported = {ReplicaId(one.replica) for one in found.survivors}
    there = latest.voter_ids & (reported | {member.id for member in alive})
    proof = "; ".join(f"{answer.member.name} {answer.what}" for answer in answers if answer.alive)
    if len(there) >= latest.quorum:
        names = _names(member.name for member in latest.voters if member.id in there)
        raise CannotRecover(
            f"a majority is left: {names}, {len(there)} of {len(latest.voters)} voters"
            f"{f' ({proof})' if proof else ''}; start them instead, and nothing is lost"
        )
    for member in alive:
        if member.id in reported:
            raise CannotRecover(
                f"{member.name} runs ({proof}), so its report may be of the past; stop it, and make it again"
            )
    if alive:
        names = _names(member.name for member in alive)
        raise CannotRecover(
            f"{names} answered and is in no report ({proof}); its log may hold more: stop it, run `hamgrd "
            "recover --report` there, and give that file too"
        )


def _dial(member: Member, context: ssl.SSLContext, cluster: str, timeout_s: float) -> Answer:
    host, _, port = member.raft.rpartition(":")
    connected = False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as plain:
            connected = True
            with context.wrap_socket(plain) as tls:
                shown = identity_of(tls.getpeercert(binary_form=True) or b"")
    except ConnectionRefusedError:
        return Answer(member=member, alive=False, what=f"is not started: {member.raft} refuses connections")
    except ssl.SSLCertVerificationError:
        return Answer(member=member, alive=False, what=f"is not at {member.raft}: another cluster's is")
    except BadCertificate as error:
        return Answer(member=member, alive=False, what=f"is not at {member.raft}: {error}")
    except (OSError, ValueError) as error:
        why = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        what = f"did not answer at {member.raft}: {why}"
        if connected:
            what = f"may run and hang: {member.raft} takes connections and does not answer ({why})"
        return Answer(member=member, alive=False, what=what)
    if (shown.kind, shown.cluster, shown.id) != (REPLICA, cluster, member.id):
        return Answer(member=member, alive=False, what=f"is not at {member.raft}: {shown.name} is")
    what = f"answered at {member.raft} with its certificate ({shown.id})"
    return Answer(member=member, alive=True, what=what)


def _names(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))

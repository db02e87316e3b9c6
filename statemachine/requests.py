"""The memory of request ids: a command that comes twice is answered twice and obeyed once.

1. At least the newest `REQUESTS_KEPT_MIN` answers are remembered; that is the window in which a client
   may repeat a request whose answer it did not see.
   A refusal that names very many offenders is remembered with the first of them.
2. The same id with another content is refused: it is a mistake, not a repeat.
3. Cost of a command: a copy of at most one generation, however many are kept.
"""

import hashlib
from collections.abc import Mapping

from statemachine import codec
from statemachine.commands import Command
from statemachine.copying import replace
from statemachine.model import Remembered, State
from statemachine.outcomes import Accepted, Outcome
from statemachine.words import RequestId

GENERATION_SIZE = 256
GENERATIONS_MAX = 17
REQUESTS_KEPT_MIN = GENERATION_SIZE * (GENERATIONS_MAX - 1)
OFFENDERS_KEPT_MAX = 64
MESSAGE_CHARS_KEPT_MAX = 2_048


def fingerprint(command: Command) -> bytes:
    """Return what a repeat of `command` must have in common with it: all but the time it was proposed."""
    return hashlib.sha256(codec.encode_timeless(command)).digest()[:16]


def recall(state: State, request_id: RequestId) -> Remembered | None:
    """Return the answer that `request_id` got, if it is still remembered."""
    for generation in state.requests:
        if request_id in generation:
            return generation[request_id]
    return None


def remember(state: State, command: Command, outcome: Outcome) -> tuple[Mapping[RequestId, Remembered], ...]:
    """Return the memory with the answer to `command`, and without the oldest generation when it is full."""
    entry = Remembered(
        request_id=command.request_id,
        fingerprint=fingerprint(command),
        outcome=codec.encode_outcome(_short(outcome)),
    )
    newest: Mapping[RequestId, Remembered] = state.requests[0] if state.requests else {}
    if len(newest) < GENERATION_SIZE:
        return ({**newest, command.request_id: entry}, *state.requests[1:])
    return ({command.request_id: entry}, *state.requests[: GENERATIONS_MAX - 1])


def _short(outcome: Outcome) -> Outcome:
    """Return `outcome` as small as thousands of them may be."""
    if isinstance(outcome, Accepted) or (
        len(outcome.message) <= MESSAGE_CHARS_KEPT_MAX and len(outcome.offenders) <= OFFENDERS_KEPT_MAX
    ):
        return outcome
    return replace(
        outcome,
        message=f"{outcome.message[:MESSAGE_CHARS_KEPT_MAX]} ... (and more)",
        offenders=outcome.offenders[:OFFENDERS_KEPT_MAX],
    )

"""Which outputs the replicated state has all of, so that nobody has to keep them anywhere else."""

from statemachine.model import OUTPUT_TAIL_BYTES_MAX, Result
from statemachine.words import Ending

_WHOLE_BYTES_MAX = OUTPUT_TAIL_BYTES_MAX - 4
"""A tail that was cut can be up to three bytes shorter than its bound: half characters are left out."""


def whole_in_state(result: Result) -> bool:
    """Say whether the replicated state has all that the attempt printed."""
    if result.ending is Ending.NOT_RUN:
        return True
    tail = result.output_tail
    return (
        result.ending is Ending.EXITED
        and len(tail.encode()) <= _WHOLE_BYTES_MAX
        and "\N{REPLACEMENT CHARACTER}" not in tail
    )

"""The entries of the log that record what somebody did outside of any job."""

from dataclasses import dataclass

from statemachine.stamped import Stamped


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordExec(Stamped):
    """Record that a command is about to be run on nodes; without this it is not run.

    Attributes:
        run: Made anew by each replica that is asked to run it: who asks twice with one request id is refused
            the second time, so that the command is run once at most.
        command: The beginning of it, at most `words.EXEC_CHARS_MAX`.
        selector: As it was asked for; empty when the nodes were named.
        nodes: How many.
    """

    run: str
    command: str
    selector: str
    nodes: int

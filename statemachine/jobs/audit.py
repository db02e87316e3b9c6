"""Rules for what is only recorded: commands that somebody has run on nodes outside of any job."""

from statemachine import words
from statemachine.audit_commands import RecordExec
from statemachine.draft import Draft
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome

SHOWN_MAX = 200
"""Characters of a command that an event shows."""


def record_exec(draft: Draft, command: RecordExec) -> Outcome:
    if not words.REQUEST_ID.match(command.run):
        return invalid(f"{command.run!r} cannot name a run")
    if not 0 < len(command.command) <= words.EXEC_CHARS_MAX:
        return invalid(f"a command of {len(command.command)} characters cannot be recorded")
    if len(command.selector) > words.EXEC_CHARS_MAX:
        return invalid(f"the selector is longer than {words.EXEC_CHARS_MAX} characters")
    if command.nodes < 1:
        return invalid("no node was selected, so there is nothing to run")
    shown = command.command if len(command.command) <= SHOWN_MAX else command.command[:SHOWN_MAX] + " ..."
    nodes = "1 node" if command.nodes == 1 else f"{command.nodes} nodes"
    draft.event("exec.begun", command.selector or nodes, f"`{shown}` on {nodes}")
    return Accepted(index=draft.index, ref=command.run)

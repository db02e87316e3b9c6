"""What a step would do on a node, and how that is read from what its preview printed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from backends.ports import LOOK_TAIL_BYTES, Look
from hamgr.logs.masking import Mask
from statemachine.phases import PlannedStep
from statemachine.words import NodeName

STEP_BYTES_MAX = 64 * 1024
"""The most that is read of one step's preview."""
NOTE_CHARS_MAX = 300


class Verdict(StrEnum):
    """What a step would do on a node as it is now."""

    WOULD_CHANGE = "would-change"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    """It cannot say beforehand, or nobody could look; the note says which."""


_VERDICTS = {
    b"hamgr: would change": Verdict.WOULD_CHANGE,
    b"hamgr: unchanged": Verdict.UNCHANGED,
    b"hamgr: unknown": Verdict.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a step would do.

    Attributes:
        diff: What it printed, secrets masked: for files a unified diff.
        note: Why nothing better is known; empty when all is.
        proof: It only proves that the work was done, so it was not looked at beforehand.
        broken: It cannot be prepared for the node, so the job would fail there.
    """

    step: PlannedStep
    verdict: Verdict
    diff: str = ""
    note: str = ""
    proof: bool = False
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """What a job would do on a node, in the order of its steps; `error` says why nobody could look."""

    node: NodeName
    steps: tuple[Seen, ...]
    error: str = ""

    @property
    def verdict(self) -> Verdict:
        """The strongest of what its steps would do."""
        found = {seen.verdict for seen in self.steps if not seen.proof}
        if Verdict.WOULD_CHANGE in found:
            return Verdict.WOULD_CHANGE
        return Verdict.UNKNOWN if self.error or Verdict.UNKNOWN in found else Verdict.UNCHANGED


def read_look(step: PlannedStep, look: Look, mask: Mask) -> Seen:
    """Return what a look at one step saw."""
    text, verdict = _read(look.output)
    if look.exit_code != 0 or verdict is None:
        ended = "printed without end" if look.exit_code is None else f"ended with {look.exit_code}"
        last = (look.output.strip().rsplit(b"\n", 1) or [b""])[-1]
        said = mask.excerpt(last, cut_before=True, cut_after=False).decode("utf-8", "replace")
        return Seen(step=step, verdict=Verdict.UNKNOWN, note=note_of(f"could not look: it {ended}: {said}"))
    note = "it cannot say beforehand" if verdict is Verdict.UNKNOWN else ""
    if look.truncated:
        note = "its diff is long; a part in the middle is left out"
    return Seen(step=step, verdict=verdict, diff=_concealed(text, look, mask), note=note)


def _read(output: bytes) -> tuple[bytes, Verdict | None]:
    """Return what a preview printed before its last line, and what that line says."""
    text, _, last = output.rstrip().rpartition(b"\n")
    verdict = _VERDICTS.get(last.strip())
    return (text, verdict) if verdict is not None else (output, None)


def _concealed(text: bytes, look: Look, mask: Mask) -> str:
    """Return a diff without secrets: not the new ones, which we know, nor the old ones, which we do not."""
    if look.truncated:
        seam = STEP_BYTES_MAX - LOOK_TAIL_BYTES
        head = mask.excerpt(text[:seam], cut_before=False, cut_after=True)
        shown = head + b"\n[...]\n" + mask.excerpt(text[seam:], cut_before=True, cut_after=False)
    else:
        shown = mask.apply(text)
    lines = shown.decode("utf-8", "replace").splitlines()
    if mask and shown != text:
        lines = ["-*** (not shown: this file has secrets)" if _is_removal(line) else line for line in lines]
    return "\n".join(lines)


def _is_removal(line: str) -> bool:
    return line.startswith("-") and not line.startswith("--- ")


def with_handlers(steps: tuple[Seen, ...]) -> Sequence[Seen]:
    """Return the steps with what handlers would do: they run when a step that names them changes."""
    found = []
    for seen in steps:
        step = seen.step
        if not step.spec.handler or seen.proof:
            found.append(seen)
            continue
        verdicts = {
            other.verdict
            for other in steps
            if (other.step.phase, other.step.component) == (step.phase, step.component)
            and step.spec.name in other.step.spec.notify
        }
        if Verdict.WOULD_CHANGE in verdicts:
            found.append(replace(seen, verdict=Verdict.WOULD_CHANGE, note="notified by a step that changes"))
        elif Verdict.UNKNOWN in verdicts:
            found.append(replace(seen, note="it may be notified"))
        else:
            found.append(replace(seen, verdict=Verdict.UNCHANGED, note=""))
    return found


def note_of(text: str) -> str:
    """Return a sentence that may quote anything, cut to `NOTE_CHARS_MAX`."""
    return text if len(text) <= NOTE_CHARS_MAX else text[:NOTE_CHARS_MAX] + " ..."

"""The kinds of steps, one file each; all of them answer the same six questions (`Kind`)."""

from collections.abc import Callable, Iterator
from typing import Protocol

from hamgr.bundles.schema import StepModel
from hamgr.bundles.steps import check, file, package, playbook, reboot, script, service
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope


class Kind(Protocol):
    """What a module in this package offers."""

    def texts(self, step: StepModel) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield each text that is rendered for a node, and its path below the step."""

    def files(self, step: StepModel) -> Iterator[FileUse]:
        """Yield each file of the component that the step needs."""

    def complaints(self, step: StepModel) -> Iterator[Complaint]:
        """Yield what is wrong with values that are literal, so that nobody has to wait for a node."""

    def apply(self, step: StepModel, scope: Scope) -> str:
        """Return shell that does the work; it ends with `hamgr: changed` or `hamgr: unchanged`."""

    def verify(self, step: StepModel, scope: Scope) -> str:
        """Return shell that changes nothing and exits 0 when the work is done."""

    def preview(self, step: StepModel, scope: Scope) -> str:
        """Return shell that changes and stores nothing, and says what `apply` would do (`Form.PREVIEW`)."""


def kind_of(step: StepModel) -> Kind:
    """Return the kind of a step; the schema has seen to it that there is exactly one."""
    if step.file is not None:
        return file
    if step.service is not None:
        return service
    if step.script is not None:
        return script
    if step.package is not None:
        return package
    if step.playbook is not None:
        return playbook
    if step.reboot is not None:
        return reboot
    return check


def check_of(step: StepModel) -> Callable[[StepModel, Scope], str] | None:
    """Return what compiles the check of a checkable step: shell that exits 0 when the work is done."""
    if step.script is not None and step.script.check is not None:
        return script.check
    return reboot.check if step.reboot is not None else None


def can_verify(step: StepModel) -> bool:
    """Say whether a step has a read-only form that follows from it."""
    if step.reboot is not None or step.playbook is not None:
        return False  # a playbook may: but many that work well stumble in check mode
    return step.script is None or step.script.step_class == "checkable"


__all__ = ["Complaint", "FileUse", "Kind", "Scope", "can_verify", "check_of", "kind_of"]

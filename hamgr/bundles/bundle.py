"""A bundle that passed every check, as the rest of hamgr sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from statemachine.manifest import Manifest
from statemachine.words import Digest, Verb

if TYPE_CHECKING:  # who holds a bundle has them in memory already; see `doors`
    from hamgr.bundles.schema import StepModel
    from hamgr.bundles.yaml import Document, Path


class Form(StrEnum):
    """What a step is compiled to."""

    APPLY = "apply"
    """Do the step; of a verify verb, look whether it is done. Exit status 0: it is. A step that is not a
    script then ends its output with the line `hamgr: changed` or `hamgr: unchanged`."""
    CHECK = "check"
    """Look whether a checkable step's work is done. Exit status 0: it is."""
    PREVIEW = "preview"
    """Say what the step would do and change nothing; output of at most `PREVIEW_BYTES_MAX`, secrets masked.

    With exit status 0 the last line is `hamgr: would change`, `hamgr: unchanged` or `hamgr: unknown` (only
    doing it would tell); any other status means that nobody could look.
    """


PREVIEW_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBody:
    """What a step does, and where it is written.

    Attributes:
        read_only: Compile the form that looks and changes nothing.
    """

    model: "StepModel"
    document: "Document"
    path: "Path"
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedBundle:
    """One immutable version of the configuration repository, checked. Compare digests, not bundles.

    Attributes:
        packed: The bytes that `digest` names; what is stored and given to other replicas.
        manifest: The part that goes into the replicated log.
        files: Every file, by its path inside the bundle.
        bodies: Every step of the manifest, by component, verb and name.
    """

    digest: Digest
    manifest: Manifest
    packed: bytes = field(repr=False)
    files: Mapping[str, BundleFile] = field(repr=False)
    bodies: Mapping[tuple[str, Verb, str], StepBody] = field(repr=False)

"""A bundle that passed every check, as the rest of hamgr sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from statemachine.manifest import Manifest
from statemachine.words import Digest, Verb

if TYPE_CHECKING:  # who holds a bundle has them in memory already; see `doors`
    from hamgr.bundles.schema import StepModel
    from hamgr.bundles.yaml import Document, Path


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

"""From a planned step to the script that the node runs.

The script is a pure function of the bundle, the node's variables and its facts, so that two leaders send
the same bytes for the same attempt.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

from backends.blobs import BlobError
from hamgr.bundles import BundleInvalid, Form, LoadedBundle, RenderError, compile_step, load
from statemachine import phases
from statemachine.jobs.work import StepDue
from statemachine.model import State
from statemachine.nodes import variables
from statemachine.words import Digest, JobId, NodeName

BUNDLES_CACHED_MAX = 8


class CannotPrepare(Exception):
    """The step cannot be turned into a script for this node; the message says what is missing."""


class ScriptSource(Protocol):
    async def script(self, state: State, job: JobId, node: NodeName, due: StepDue) -> bytes:
        """Return the script of an owed attempt.

        Raises:
            CannotPrepare: The bundle cannot be had, or does not fit the node.
        """


class Archives(Protocol):
    """Where the bytes of bundles come from: this replica's store, else another replica."""

    async def fetch(self, digest: Digest) -> bytes:
        """Return the bundle's bytes.

        Raises:
            BlobError: No replica that answers has them.
        """


class BundleScripts:
    """Compiles the steps of bundles."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._loaded: OrderedDict[Digest, LoadedBundle] = OrderedDict()
        self._loading = asyncio.Lock()

    async def script(self, state: State, job: JobId, node: NodeName, due: StepDue) -> bytes:
        bundle = await self.bundle(due.step.bundle)
        subject, owner = state.nodes[node], state.jobs[job]
        role = phases.role_of(owner, subject)
        layers = variables.layers(state, subject, due.step.bundle, role=role, job=owner, phase=due.step.phase)
        try:
            return compile_step(
                bundle,
                due.step.component,
                due.step.verb,
                due.step.spec.name,
                form=Form.CHECK if due.checking else Form.APPLY,
                variables=variables.resolve(layers),
                facts=subject.facts,
                node_name=phases.name_on(owner, node),
            )
        except RenderError as error:
            raise CannotPrepare(str(error)) from error

    async def bundle(self, digest: Digest) -> LoadedBundle:
        """Return a bundle, loaded.

        Raises:
            CannotPrepare: It cannot be had.
        """
        async with self._loading:
            if digest in self._loaded:
                self._loaded.move_to_end(digest)
                return self._loaded[digest]
            try:
                bundle = await asyncio.to_thread(load, await self._archives.fetch(digest))
            except (BlobError, BundleInvalid) as error:
                raise CannotPrepare(f"bundle {digest}: {error}") from error
            self._loaded[digest] = bundle
            if len(self._loaded) > BUNDLES_CACHED_MAX:
                self._loaded.popitem(last=False)
            return bundle

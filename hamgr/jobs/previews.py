"""From planned steps to the read-only scripts that tell what they would change on a node."""

import asyncio
from collections.abc import Mapping, Sequence

from hamgr.bundles import LoadedBundle, RenderError, compile_preview
from hamgr.jobs.scripts import BundleScripts, CannotPrepare
from statemachine import phases
from statemachine.model import Job, Node, State
from statemachine.nodes import variables
from statemachine.phases import PlannedStep
from statemachine.words import Digest, Value


class BundlePreviews:
    """Compiles the previews of bundles' steps, one node at a time and beside the event loop."""

    def __init__(self, scripts: BundleScripts) -> None:
        self._scripts = scripts
        self._compiling = asyncio.Lock()

    async def previews(
        self, state: State, job: Job, node: Node, steps: Sequence[PlannedStep]
    ) -> list[bytes | CannotPrepare]:
        """See `lookout.Previews`; one hop to another thread for all steps of a node."""
        bundles: dict[Digest, LoadedBundle | CannotPrepare] = {}
        for digest in {step.bundle for step in steps}:
            try:
                bundles[digest] = await self._scripts.bundle(digest)
            except CannotPrepare as error:
                bundles[digest] = error
        async with self._compiling:
            return await asyncio.to_thread(_compiled, state, job, node, steps, bundles)


def _compiled(
    state: State,
    job: Job,
    node: Node,
    steps: Sequence[PlannedStep],
    bundles: Mapping[Digest, LoadedBundle | CannotPrepare],
) -> list[bytes | CannotPrepare]:
    values: dict[Digest, dict[str, Value]] = {}
    found: list[bytes | CannotPrepare] = []
    for step in steps:
        bundle = bundles[step.bundle]
        if isinstance(bundle, CannotPrepare):
            found.append(bundle)
            continue
        if step.bundle not in values:
            layers = variables.layers(state, node, step.bundle, role=phases.role_of(job, node), job=job)
            values[step.bundle] = variables.resolve(layers)
        try:
            script = compile_preview(
                bundle,
                step.component,
                step.verb,
                step.spec.name,
                variables=values[step.bundle],
                facts=node.facts,
                node_name=phases.name_on(job, node.name),
            )
        except RenderError as error:
            found.append(CannotPrepare(str(error)))
        else:
            found.append(script)
    return found

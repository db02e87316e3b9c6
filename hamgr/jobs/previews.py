"""From a planned step to the read-only script that tells what it would change on a node."""

import asyncio

from hamgr.bundles import RenderError, compile_preview
from hamgr.jobs.scripts import BundleScripts, CannotPrepare
from statemachine import plans, variables
from statemachine.model import Job, Node, State
from statemachine.plans import PlannedStep


class BundlePreviews:
    """Compiles the previews of bundles' steps, one node at a time and beside the event loop."""

    def __init__(self, scripts: BundleScripts) -> None:
        self._scripts = scripts
        self._compiling = asyncio.Lock()

    async def preview(self, state: State, job: Job, node: Node, step: PlannedStep) -> bytes:
        bundle = await self._scripts.bundle(step.bundle)
        layers = variables.layers(state, node, step.bundle, role=plans.role_of(job, node), job=job)

        def compiled() -> bytes:
            return compile_preview(
                bundle,
                step.component,
                step.verb,
                step.spec.name,
                variables=variables.resolve(layers),
                facts=node.facts,
                node_name=node.name,
            )

        try:
            async with self._compiling:
                return await asyncio.to_thread(compiled)
        except RenderError as error:
            raise CannotPrepare(str(error)) from error

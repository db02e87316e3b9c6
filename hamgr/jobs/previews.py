"""From a planned step to the read-only script that tells what it would change on a node."""

import asyncio

from hamgr.bundles import RenderError, compile_check
from hamgr.jobs.scripts import BundleScripts, CannotPrepare
from statemachine import plans, variables
from statemachine.model import Job, Node, State
from statemachine.plans import PlannedStep
from statemachine.words import StepClass

UNKNOWN = b"echo hamgr: unknown\n"


class BundlePreviews:
    """Compiles the previews of bundles' steps, one node at a time and beside the event loop."""

    def __init__(self, scripts: BundleScripts) -> None:
        self._scripts = scripts
        self._compiling = asyncio.Lock()

    async def preview(self, state: State, job: Job, node: Node, step: PlannedStep) -> bytes:
        bundle = await self._scripts.bundle(step.bundle)
        if step.spec.step_class is not StepClass.CHECKABLE:
            return UNKNOWN
        layers = variables.layers(state, node, step.bundle, role=plans.role_of(job, node), job=job)

        def compiled() -> bytes:
            return compile_check(
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
                check = await asyncio.to_thread(compiled)
        except RenderError as error:
            raise CannotPrepare(str(error)) from error
        return (
            b"if (\n%b\n) >/dev/null 2>&1; then echo hamgr: unchanged; else echo hamgr: would change; fi"
            % check
        )

"""What the rest of hamgr asks of this room: to check a bundle, and to compile its steps.

The machinery behind these functions (schemas, templates) comes into memory with the first call: a replica
does not hold 7 MiB for bundles that it never works with.
"""

from collections.abc import Mapping

from hamgr.bundles.bundle import LoadedBundle
from statemachine.words import Value, Verb


def load(archive: bytes) -> LoadedBundle:
    """Read, check and repack an upload; packed bytes are an upload too, and give the same digest again.

    Takes time in proportion to the bundle (most of it for YAML); keep it off an event loop.

    Raises:
        BundleInvalid: With every problem that could be found; nothing else is ever raised for bad input.
    """
    from hamgr.bundles import loading  # noqa: PLC0415 - see the module

    return loading.loaded(archive)


def compile_step(
    bundle: LoadedBundle,
    component: str,
    verb: Verb,
    step_name: str,
    *,
    variables: Mapping[str, Value],
    facts: Mapping[str, Value],
    node_name: str,
) -> bytes:
    """Return the script for /bin/sh that does a step on a node, or looks whether it is done (verify).

    It exits 0 when the step is done; a step that is not a script then ends its output with the line
    `hamgr: changed` or `hamgr: unchanged`.

    Raises:
        RenderError: The step does not exist, or cannot be compiled for this node; says where and why.
    """
    from hamgr.bundles import render  # noqa: PLC0415 - see the module

    return render.compiler_of(bundle).step(
        component, verb, step_name, variables=variables, facts=facts, node_name=node_name
    )


def compile_check(
    bundle: LoadedBundle,
    component: str,
    verb: Verb,
    step_name: str,
    *,
    variables: Mapping[str, Value],
    facts: Mapping[str, Value],
    node_name: str,
) -> bytes:
    """Return the script that exits 0 when a checkable step's work is already done on the node.

    Raises:
        RenderError: As `compile_step`, and for a step that is not checkable.
    """
    from hamgr.bundles import render  # noqa: PLC0415 - see the module

    return render.compiler_of(bundle).check(
        component, verb, step_name, variables=variables, facts=facts, node_name=node_name
    )

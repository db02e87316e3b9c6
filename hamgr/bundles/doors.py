"""What the rest of hamgr asks of this room: to check a bundle, and to compile its steps.

The machinery behind these functions (schemas, templates) comes into memory with the first call: a replica
does not hold 7 MiB for bundles that it never works with.
"""

from collections.abc import Mapping
from functools import partial

from hamgr.bundles.bundle import Form, LoadedBundle
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
    form: Form = Form.APPLY,
    variables: Mapping[str, Value],
    facts: Mapping[str, Value],
    node_name: str,
) -> bytes:
    """Return a form of a step, for one node, as a script for /bin/sh; `Form` says what each promises.

    Raises:
        RenderError: The step does not exist, has no such form, or cannot be compiled for this node; says
            where and why.
    """
    from hamgr.bundles import render  # noqa: PLC0415 - see the module

    return render.compiler_of(bundle).script(
        component, verb, step_name, form=form, variables=variables, facts=facts, node_name=node_name
    )


compile_check = partial(compile_step, form=Form.CHECK)
compile_preview = partial(compile_step, form=Form.PREVIEW)

"""`check`: a command succeeds, a port is open, a page answers, or a file is there; at once or before long.

1. A check changes nothing on the node by itself.
2. With `within_s` it is asked again every fifth of a second until it holds or the time is over.
3. Pages are asked for directly: no proxy, no redirects followed, no user's configuration read.
"""

import math
from collections.abc import Iterator

from hamgr.bundles.schema import CheckModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote, quote_all
from hamgr.bundles.steps import probes
from hamgr.bundles.steps.scope import (
    Complaint,
    FileUse,
    Rule,
    Scope,
    absolute_path,
    host,
    literal,
    port,
    program,
    sayable,
    sha256,
    web_address,
)
from hamgr.bundles.yaml import Path


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    for path, value, _ in _values(_model(step)):
        if isinstance(value, str):
            yield path, value


def files(step: StepModel) -> Iterator[FileUse]:
    del step
    yield from ()


def complaints(step: StepModel) -> Iterator[Complaint]:
    for path, value, rule in _values(_model(step)):
        yield from literal(path, value, rule)


def apply(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    settings, attempt = _question(model, scope)
    asking = probes.UNTIL if model.within_s else probes.ONCE
    return "".join([PRELUDE, settings, f"within={math.ceil(model.within_s)}\n", attempt, asking])


def _question(model: CheckModel, scope: Scope) -> tuple[str, str]:
    """Return the values of a check as shell variables, and the shell that defines `attempt`."""
    found = {path: scope.text(path, value, rule) for path, value, rule in _values(model)}
    if model.command is not None:
        settings = f"set -- {quote_all(list(found.values()))}\n"
        attempt = probes.COMMAND
    elif model.tcp is not None:
        settings = f"host={quote(found['check', 'tcp', 'host'])}\nport={found['check', 'tcp', 'port']}\n"
        attempt = probes.TCP
    elif model.http is not None:
        url, needle = found["check", "http", "url"], found.get(("check", "http", "contains"), "")
        settings = f"url={quote(url)}\nstatus={model.http.status}\nneedle={quote(needle)}\n"
        attempt = probes.HTTP
    else:
        path, digest = found["check", "file", "path"], found.get(("check", "file", "sha256"), "")
        settings = f"path={quote(path)}\ntarget=$root$path\nsum={digest}\n"
        attempt = probes.FILE
    return settings, attempt


verify = apply


def preview(step: StepModel, scope: Scope) -> str:
    """Return shell that tells whether it holds now; what it waits for may come with a step before it."""
    return PRELUDE + "".join(_question(_model(step), scope)) + probes.NOW


def _model(step: StepModel) -> CheckModel:
    if step.check is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a check")
    return step.check


def _values(model: CheckModel) -> Iterator[tuple[Path, str | int, Rule]]:
    """Yield every value that ends in the script: where it is written, and what it must look like."""
    if model.command is not None:
        for index, word in enumerate(model.command):
            yield ("check", "command", index), word, program if index == 0 else sayable
    elif model.tcp is not None:
        yield ("check", "tcp", "port"), model.tcp.port, port
        yield ("check", "tcp", "host"), model.tcp.host, host
    elif model.http is not None:
        yield ("check", "http", "url"), model.http.url, web_address
        if model.http.contains is not None:
            yield ("check", "http", "contains"), model.http.contains, sayable
    elif model.file is not None:
        yield ("check", "file", "path"), model.file.path, absolute_path
        if model.file.sha256 is not None:
            yield ("check", "file", "sha256"), model.file.sha256, sha256

"""`package`: packages of the node's distribution are there, are up to date, or are not there.

1. What is installed is asked of the package database alone; where all is as it should be, nothing is run.
2. Nobody is asked anything: configuration files that were changed on the node stay as they are, and another
   program's lock on the package database is waited for, for half of the step's time at most.
3. Names are names: nothing is installed that another package, a pattern or a suffix would stand for.
4. An installation that was cut off is completed first. So the step can be repeated whenever it was lost.
5. The lists of packages are fetched where `latest` asks for it, or where a package is not known; never in
   order to look.
6. A practice node has no packages of its own: there the step only writes down what it was asked for.
"""

import re
from collections.abc import Iterator

from hamgr.bundles.schema import PackageModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote, quote_all
from hamgr.bundles.steps import managers
from hamgr.bundles.steps.scope import Complaint, FileUse, Rule, Scope, literal
from hamgr.bundles.yaml import Path

LOCK_WAIT_S_MAX = 600


def package_name(value: str) -> str | None:
    # A minus at the end of a name would make apt-get remove that package.
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9+._:-]{0,126}[A-Za-z0-9+])?", value):
        return "must be the name of a package: letters, digits and `+._:-`"
    return None


def version(value: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+:~^_-]{0,127}", value):
        return "must be a version: letters, digits and `.+:~^_-`"
    return None


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    for path, text, _ in _values(_model(step)):
        yield path, text


def files(step: StepModel) -> Iterator[FileUse]:
    del step
    yield from ()


def complaints(step: StepModel) -> Iterator[Complaint]:
    for path, text, rule in _values(_model(step)):
        yield from literal(path, text, rule)


def apply(step: StepModel, scope: Scope) -> str:
    return _beginning(step, scope) + managers.APPLY


def verify(step: StepModel, scope: Scope) -> str:
    return _beginning(step, scope) + managers.VERIFY


def preview(step: StepModel, scope: Scope) -> str:
    return _beginning(step, scope) + managers.PREVIEW


def _model(step: StepModel) -> PackageModel:
    if step.package is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a package")
    return step.package


def _values(model: PackageModel) -> Iterator[tuple[Path, str, Rule]]:
    if model.name is not None:
        yield ("package", "name"), model.name, package_name
    for index, name in enumerate(model.names or ()):
        yield ("package", "names", index), name, package_name
    if model.version is not None:
        yield ("package", "version"), model.version, version


def _beginning(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    found = {path: scope.text(path, text, rule) for path, text, rule in _values(model)}
    wanted = found.pop(("package", "version"), "")
    wait_s = min(max(int(step.limit_s / 2), 1), LOCK_WAIT_S_MAX)
    recommends = "yes" if model.recommends else "no"
    return "".join(
        [
            PRELUDE,
            f"set -- {quote_all(list(found.values()))}\n",
            f"goal={model.state} version={quote(wanted)} manager={model.manager}\n",
            # Both managers translate what is read here.
            "LC_ALL=C.UTF-8\nexport LC_ALL\n",
            f"recommends={recommends} lock_wait_s={wait_s}\n",
            managers.COMMON,
        ]
    )

"""Refuses to run where another distribution owns one of our package names.

hamgr's packages are plain top-level names, because it is an application in its own virtual environment.
In a shared one, PyPI's python-statemachine, for example, would be imported in place of our `statemachine`.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions

PACKAGES = ("backends", "cli", "hamgr", "statemachine")
DISTRIBUTION = "hamgr"


def complaint(owners: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return one sentence that names who else owns our names; empty when nobody does."""
    found = packages_distributions() if owners is None else owners
    others = {
        f"{package} ({owner})"
        for package in PACKAGES
        for owner in found.get(package, ())
        if owner != DISTRIBUTION
    }
    if not others:
        return ""
    return (
        f"other distributions own packages of hamgr's names: {', '.join(sorted(others))}; "
        "install hamgr into a virtual environment of its own"
    )

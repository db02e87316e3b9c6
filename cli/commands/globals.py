"""hamgr globals: variables of all nodes."""

import click

from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, settings, variables
from cli.output import describe, show


@click.group("globals", cls=LazyGroup)
def globals_() -> None:
    """Variables that every node has unless its role or the node itself says otherwise."""


@globals_.command("show", cls=Leaf, examples="hamgr globals show\nhamgr globals show -o yaml")
def show_globals() -> None:
    """Show the global variables."""
    data = client().get("/v1/globals")["variables"]
    show(settings().output, data, names=list(data), text=describe(data) or "none")


@globals_.command("set", cls=Leaf, examples="hamgr globals set ntp=10.0.0.1 http.port=8080")
@click.argument("sets", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_globals(sets: tuple[str, ...]) -> None:
    """Set variables; a value that is JSON is taken as that, a.b=1 nests."""
    _patch(variables(sets), "set")


@globals_.command("unset", cls=Leaf, examples="hamgr globals unset ntp http.port")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def unset_globals(keys: tuple[str, ...]) -> None:
    """Remove variables."""
    if not all(keys):
        raise CliError(Exit.USAGE, "an empty key cannot be removed")
    _patch(variables((), keys), "removed")


def _patch(values: dict[str, object], word: str) -> None:
    data = client().call("PATCH", "/v1/globals", body={"variables": values}).data
    show(settings().output, data, names=list(values), text=f"{', '.join(values)}: {word}")

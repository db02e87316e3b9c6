"""What all commands share: the common options, how to get a client, and how values are written."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import names
from cli.exits import CliError, Exit
from cli.output import grey
from cli.settings import FORMATS, Settings, cache_home

if TYPE_CHECKING:
    from cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])

PEERS_FILE = "peers.json"
TIMEOUT_S_MAX = 86_400


def settings() -> Settings:
    """Return the settings of the command that runs."""
    found = click.get_current_context().find_root().obj
    if not isinstance(found, Settings):
        raise TypeError("the root command has not run")
    return found


def client(*, timeout_s: float | None = None) -> "Client":
    """Return a client for the servers and the token that were given; it is closed with the command."""
    from cli.client import Client  # noqa: PLC0415 - HTTP costs 40 ms, which --help is not worth

    ours = settings()
    made = Client(
        servers=ours.urls(),
        token=ours.token(),
        timeout_s=ours.timeout_s if timeout_s is None else timeout_s,
        notice=grey,
        peers_file=cache_home() / PEERS_FILE,
    )
    click.get_current_context().call_on_close(made.close)
    return made


def _keep(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value not in (None, (), False):
            setattr(ctx.find_root().ensure_object(Settings), attribute, value)

    return keep


_OUTPUT_HELP = "How to print.  [default: table]"
_HELP = {
    "servers": "A replica; may be repeated.  [env: HAMGR_ADDR]",
    "token_file": "Where the token is.  [env: HAMGR_TOKEN_FILE, HAMGR_TOKEN]",
    "context": "A cluster of ~/.config/hamgr/config.yaml.  [env: HAMGR_CONTEXT]",
    "timeout_s": "How long to look for a server that answers.  [default: 60]",
    "debug": "Show a traceback when hamgr itself fails.",
}


def common_options(*, hidden: bool) -> list[click.Option]:
    """Return the options that are understood before and after the command's name."""

    def option(*flags: str, of: str, **more: Any) -> click.Option:
        return click.Option(flags, expose_value=False, callback=_keep(of), **more)

    def rare(flag: str, of: str, **more: Any) -> click.Option:
        return option(flag, of=of, hidden=hidden, help=_HELP[of], **more)

    timeout = click.FloatRange(0.1, TIMEOUT_S_MAX)
    return [
        option("-o", "--output", of="output", type=click.Choice(FORMATS), help=_OUTPUT_HELP),
        rare("--server", "servers", multiple=True, metavar="URL"),
        rare("--token-file", "token_file", metavar="FILE"),
        rare("--context", "context", metavar="NAME"),
        rare("--timeout", "timeout_s", type=timeout, metavar="SECONDS"),
        rare("--debug", "debug", is_flag=True),
    ]


class Leaf(click.Command):
    """A command that does something; its help ends with examples."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options(hidden=True)
        self.examples = examples

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        lines = [line.strip() for line in self.examples.strip().splitlines()]
        if lines:
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        formatter.write_paragraph()
        formatter.write_text("Options of `hamgr` itself (--server, --token-file, ...) may stand here too.")


def yes_option(function: F) -> F:
    """Add --yes to a command that asks."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)


def confirm(question: str, *, yes: bool, word: str = "") -> None:
    """Ask before something dangerous; with `word` the operator has to type it.

    Raises:
        CliError: They said no, or nobody is there to ask and --yes was not given.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise CliError(Exit.USAGE, "this has to be confirmed, and there is no terminal", hint="add --yes")
    if word:
        given = click.prompt(f"{question} Type {word} to go on", default="", show_default=False, err=True)
        agreed = given.strip() == word
    else:
        agreed = click.confirm(question, err=True)
    if not agreed:
        raise CliError(Exit.FAILED, "nothing was done")


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        click.BadParameter: One has no '='.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        found[key] = value
    return found


def variables(sets: Sequence[str], unsets: Sequence[str] = ()) -> dict[str, Any]:
    """Return `a.b=VALUE` texts as nested values; a value that is JSON is taken as that, else as text.

    Raises:
        click.BadParameter: One has no '=', or two contradict each other.
    """
    found: dict[str, Any] = {}
    values: list[tuple[str, Any]] = [(key, _value(text)) for key, text in pairs(sets, "--set").items()]
    for path, value in [*values, *((path, None) for path in unsets)]:
        *above, last = path.split(".")
        level = found
        for key in above:
            level = level.setdefault(key, {})
            if not isinstance(level, dict):
                raise click.BadParameter(f"{path!r} goes through a value that is no map", param_hint="--set")
        level[last] = value
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def node_names(function: F) -> F:
    """Add NODE... with completion."""
    return click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=names.nodes)(function)


def node_name(function: F) -> F:
    """Add NODE with completion."""
    return click.argument("node", shell_complete=names.nodes)(function)


def job_id(function: F) -> F:
    """Add JOB with completion."""
    return click.argument("job", callback=_job_id, shell_complete=names.jobs)(function)


def _job_id(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    return f"j-{value}" if value.isascii() and value.isdigit() else value

"""hamgr completion and hamgr help: what needs no server."""

import click
from click.shell_completion import get_completion_class

from cli.exits import MEANING, CliError, Exit
from cli.options import Leaf, settings
from cli.output import show


@click.command(
    cls=Leaf,
    examples="""
    hamgr completion bash > /etc/bash_completion.d/hamgr
    hamgr completion zsh > ~/.zfunc/_hamgr
    hamgr completion fish > ~/.config/fish/completions/hamgr.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise CliError(Exit.FAILED, f"this version of click knows no {shell}")
    click.echo(kind(ctx.find_root().command, {}, "hamgr", "_HAMGR_COMPLETE").source())


@click.command("help", cls=Leaf, examples="hamgr help exit-codes\nhamgr help node ls")
@click.argument("topic", nargs=-1)
@click.pass_context
def help_(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """Explain a topic (exit-codes) or a command."""
    if topic == ("exit-codes",):
        rows = [{"code": int(code), "meaning": text} for code, text in MEANING.items()]
        lines = "\n".join(f"{row['code']:>4}  {row['meaning']}" for row in rows)
        show(settings().output, rows, names=[str(row["code"]) for row in rows], text=lines)
        return
    root = ctx.find_root()
    command: click.Command = root.command
    inner = root
    for word in topic:
        found = command.get_command(inner, word) if isinstance(command, click.Group) else None
        if found is None:
            raise CliError(Exit.NOT_FOUND, f"no help on {' '.join(topic)!r}", hint="hamgr help exit-codes")
        inner = click.Context(found, info_name=word, parent=inner)
        command = found
    click.echo(command.get_help(inner))

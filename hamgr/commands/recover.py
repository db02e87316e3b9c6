"""`hamgrd recover`: a cluster whose majority is lost for good begins again from what a survivor has."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hamgr.commands.endings import CONFIG, EXIT_CONFIGURATION, FILE, JSON_OR_TEXT, fail
from hamgr.config import ConfigError

if TYPE_CHECKING:
    from hamgr.recovery.case import Here


@click.command()
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
@click.option("--report", is_flag=True, help="Only say what this survivor has, for the others.")
@click.option(
    "--with", "others", type=FILE, multiple=True, metavar="FILE",
    help="What another survivor has said with --report. Once for each.",
)  # fmt: skip
@click.option(
    "--confirm", default="", metavar="SENTENCE",
    help="The sentence that would be asked for, for scripts.",
)  # fmt: skip
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def recover(path: Path, report: bool, others: Sequence[Path], confirm: str, output: str) -> None:
    """Begin again from a survivor's log, in a new cluster, after a majority of the voters was lost for good.

    Stop hamgrd on every survivor first, and give the reports of all of them. Says who is to be used, what is
    kept and what may be lost; nothing is changed before a sentence was typed. While a majority can be had, it
    refuses. Given again, it finishes what was cut short. See docs/recover.md.

    \b
    Examples:
      hamgrd recover --report > r2.json
      hamgrd recover --with r2.json
    """
    from hamgr.raft.port import CannotStart  # noqa: PLC0415 - what help need not wait for
    from hamgr.recovery import case  # noqa: PLC0415 - as above
    from hamgr.recovery.survivor import CannotRecover  # noqa: PLC0415 - as above

    try:
        said = case.unfinished(path, report=report)
        if said is None:
            here = case.Here.read(path)
            if report:
                click.echo(here.survivor.encode(), nl=False)
                return
            said = _recover(here, others, confirm, output)
    except ConfigError as error:
        fail(error, EXIT_CONFIGURATION)
    except (CannotRecover, CannotStart) as error:
        fail(error)
    if said is None:
        return
    if output == "json":
        click.echo(json.dumps(said, indent=2))
    else:
        click.echo(_told(said, path))


def _recover(here: "Here", others: Sequence[Path], confirm: str, output: str) -> Mapping[str, str] | None:
    """Do what was asked; return what became of it, None when nothing was changed."""
    from hamgr.recovery import succession, telling  # noqa: PLC0415 - as above
    from hamgr.recovery.survivor import CannotRecover  # noqa: PLC0415 - as above

    found = here.compared(others)
    answers = here.looked(found)
    here.check_chosen(found)
    sentence = telling.sentence_of(found)
    if not confirm:
        if output == "json":
            click.echo(json.dumps(telling.told(found, answers), indent=2))
            return None
        click.echo("\n".join(telling.lines(found, answers)))
        if not sys.stdin.isatty():
            click.echo(f"nothing was changed; to go on: --confirm '{sentence}'")
            return None
        confirm = click.prompt(f'\nTo go on, type: "{sentence}"\n', prompt_suffix="> ", default="")
    if confirm.strip() != sentence:
        raise CannotRecover(f"that is not the sentence, so nothing was changed; it is: {sentence}")
    here.looked(found)  # again: somebody may have come back while the operator read
    return succession.succeed(here).said


def _told(said: Mapping[str, str], path: Path) -> str:
    text = f"""\
Cluster {said["cluster"]} has begun. This is its one replica.
It goes on from entry {said["entry"]} of cluster {said["before"]}, as generation {said["generation"]}.
What the old cluster had here is kept under names that end with .{said["before"].partition("-")[0]}.

Next:
  systemctl start hamgrd          # or: hamgrd run --config {path}
  hamgr status                    # with the new {path.parent / "ca.crt"}: copy it to where people use hamgr
  hamgr job ls                    # what was under way waits: hamgr job resume JOB, or cancel
  hamgr replica add HOST          # for every other machine, survivors too; first move away its
                                  # /etc/hamgr and /var/lib/hamgr: the old cluster is refused"""
    if said.get("missing_bundles"):
        text += "\n\nThese bundles are not on this machine, so push them again:\n  " + "\n  ".join(
            said["missing_bundles"].split()
        )
    return text

"""The door of the demo: options, a folder of its own, and what is left behind at the end."""

import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from cli.demo.fleet import DemoFailed
from cli.demo.layout import Layout, lay_out
from cli.demo.processes import Processes
from cli.demo.screen import Lively, Plain, Screen, Silent
from cli.demo.story import Story
from cli.exits import CliError, Exit

NODES_MIN, NODES_MAX = 6, 100


@click.command()
@click.option("--ci", is_flag=True, help="Print the figures as JSON; the exit status says whether all held.")
@click.option("--keep", is_flag=True, help="Leave everything running, with the commands to try next.")
@click.option(
    "--nodes", type=click.IntRange(NODES_MIN, NODES_MAX), default=12, show_default=True, help="SSH nodes."
)
@click.option("--stop", type=click.Path(path_type=Path), metavar="DIR", help="End what --keep left running.")
def demo(*, ci: bool, keep: bool, nodes: int, stop: Path | None) -> int:
    """Run a cluster and a fleet on this machine, and kill the leader in the middle of an upgrade.

    Three real replicas and practice nodes with real SSH servers and real processes, all below a temporary
    folder; no root, no Docker, nothing else is changed. Every number is measured.

    \b
    Examples:
      hamgr demo
      hamgr demo --keep
      hamgr demo --ci | jq .new_leader_after_s
    """
    if stop is not None:
        return _stop(stop)
    directory = Path(tempfile.mkdtemp(prefix="hamgr-demo-"))
    layout = lay_out(directory)
    processes = Processes(layout)
    screen: Screen = Silent() if ci else Lively() if sys.stdout.isatty() else Plain()
    screen.say(f"hamgr demo: 3 replicas and {nodes} nodes on 127.0.0.1, in {directory}")
    story = Story(layout=layout, processes=processes, screen=screen, nodes=nodes, examples=examples())
    kept = False
    try:
        story.play()
        kept = keep
    except (DemoFailed, CliError, OSError, RuntimeError) as error:
        story.figures.error = str(error)
    finally:
        screen.close()
        story.close()
        if not kept:
            processes.stop()
    return _finish(story, layout, processes, ci=ci, kept=kept)


def examples() -> Path:
    """Return the folder of the example bundles: in the checkout, or where the package was installed."""
    checkout = Path(__file__).parents[2] / "deploy" / "examples"
    installed = Path(sysconfig.get_path("data")) / "share" / "hamgr" / "examples"
    return checkout if checkout.is_dir() else installed


def _finish(story: Story, layout: Layout, processes: Processes, *, ci: bool, kept: bool) -> int:
    figures = story.figures
    if ci:
        click.echo(json.dumps(asdict(figures), indent=2))
    elif figures.ok:
        click.echo(f"\nAll of it took {figures.seconds:.1f} s, and all of it held.")
    if not figures.ok:
        click.echo(f"hamgr: the demo failed: {figures.error}", err=True)
        click.echo(f"  try: read the replicas' logs in {layout.directory}", err=True)
        return Exit.FAILED
    if not kept:
        shutil.rmtree(layout.directory)
        return Exit.OK
    (layout.directory / "pids").write_text(json.dumps(processes.pids()))
    click.echo(
        f"""
The cluster is still running. Try:
  export HAMGR_ADDR={",".join(layout.urls)} HAMGR_TOKEN_FILE={layout.token_file}
  hamgr status
  hamgr node ls
  hamgr job log {story.last_job} --node web-01
  kill -9 {processes.pid(figures.new_leader)}      # the leader, {figures.new_leader}
  hamgr node verify --all
  hamgr demo --stop {layout.directory}""",
        err=ci,
    )
    return Exit.OK


def _stop(directory: Path) -> int:
    """End the processes of a kept demo: only those whose command line still names its folder."""
    try:
        pids = json.loads((directory / "pids").read_text())
    except (OSError, ValueError) as error:
        hint = "give the folder that `hamgr demo --keep` printed"
        raise CliError(
            Exit.NOT_FOUND, f"{directory} is not the folder of a kept demo: {error}", hint=hint
        ) from error
    for pid in pids:
        try:
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            continue
    click.echo(f"stopped {len(pids)} processes; {directory} may be removed")
    return Exit.OK

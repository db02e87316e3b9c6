"""hamgr plan commission, upgrade, rollback, decommission: as `hamgr node ...`, but nothing is begun."""

from typing import Any

import click

from cli.commands import node_work

OF_BEGINNING = frozenset({"plan", "dry_run", "detach", "yes"})
"""Options of the commands that begin something."""
OURS = OF_BEGINNING | {"exit_code"}
APPROVAL_HELP = "Somebody else has to approve it before it can be begun."


def planned(work: click.Command, examples: str) -> click.Command:
    """Return the command that plans what `work` would begin; it understands the same."""

    def run(**given: Any) -> None:
        absent = dict.fromkeys(OF_BEGINNING & {parameter.name for parameter in work.params}, False)
        if work.callback is not None:
            work.callback(**{**absent, **given, "plan": True})

    # Those that every command has come anew, and are the ones that no function is given.
    kept = [one for one in work.params if one.expose_value and one.name not in OURS]
    return node_work.Work(
        work.name,
        callback=run,
        params=[
            *kept,
            click.Option(["--needs-approval"], is_flag=True, help=APPROVAL_HELP),
            click.Option(["--exit-code"], is_flag=True, help="Exit 10 if something would change."),
        ],
        help=f"Look what this would change, node by node, and keep it for `hamgr apply`.\n\n{work.help}",
        examples=examples,
    )


commission = planned(
    node_work.commission,
    """
    hamgr plan commission web-1 web-2 --role web
    hamgr plan commission -l status=discovered --role web --needs-approval
    """,
)
upgrade = planned(
    node_work.upgrade,
    """
    hamgr plan upgrade -l role=web --canary 1
    hamgr plan upgrade --all --needs-approval --reason "change 4711"
    hamgr plan upgrade --all --exit-code -o json
    """,
)
rollback = planned(node_work.rollback, "hamgr plan rollback -l role=web --to 2fbd4b")
decommission = planned(node_work.decommission, "hamgr plan decommission -l rack=r3 --needs-approval")

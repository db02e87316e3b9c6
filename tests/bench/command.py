"""What the commands of the benches share: flags, a peer that must be there, and how goals are told."""

import argparse
from collections.abc import Iterable, Sequence

from tests.bench import etcd


def parser_of(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m tests.bench NAME`, with the flag that all of them have."""
    parser = argparse.ArgumentParser(prog=f"tests.bench {name}", description=doc)
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    return parser


def parsed_beside_etcd(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of a bench that runs etcd too, unless it is told not to."""
    parser.add_argument("--alone", action="store_true", help="leave etcd out")
    arguments = parser.parse_args(words)
    if not arguments.alone and not etcd.installed():
        parser.error(etcd.MISSING)
    return arguments


def told(goals: Iterable[tuple[str, bool]]) -> str:
    """Return the line that says which goals were reached."""
    return "goals: " + "; ".join(f"{goal}, {'reached' if met else 'MISSED'}" for goal, met in goals)

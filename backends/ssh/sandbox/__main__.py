"""`python -m backends.ssh.sandbox`: practice nodes as a program."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from backends.ssh.sandbox.processes import stop_processes
from backends.ssh.sandbox.server import sandbox
from statemachine.words import NODE_NAME


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m backends.ssh.sandbox",
        description="Run practice nodes on 127.0.0.1, each a folder with an SSH server. When all listen, one"
        " JSON line per node is printed (name, address, port, host_key, root). SIGTERM stops the servers;"
        " what steps and services left running goes on, as on real nodes.",
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the nodes' folders; kept")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--nodes", type=int, metavar="N", help="so many nodes: node-01, node-02, ...")
    which.add_argument("--names", metavar="A,B,...", help="these nodes")
    parser.add_argument("--authorized-key", type=Path, metavar="FILE", help="the public key that may log in")
    parser.add_argument("--port-first", type=int, default=0, metavar="PORT", help="default: any free ones")
    parser.add_argument("--reap", action="store_true", help="end also what the nodes run, when stopped")
    parser.add_argument("--reap-now", action="store_true", help="only end what the nodes run, and exit")
    found = parser.parse_args(words)
    found.names = (
        found.names.split(",") if found.names else [f"node-{i:02}" for i in range(1, found.nodes + 1)]
    )
    for name in found.names:
        if not NODE_NAME.match(name):
            parser.error(f"not a node's name: {name!r}")
    if found.authorized_key is None and not found.reap_now:
        parser.error("--authorized-key is needed")
    return found


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with sandbox(
        arguments.names,
        root=arguments.root,
        authorized_key=arguments.authorized_key.read_text(),
        port_first=arguments.port_first,
        reap=arguments.reap,
    ) as running:
        for node in running.nodes:
            line = {
                "name": node.name,
                "address": node.address,
                "port": node.port,
                "host_key": node.host_key,
                "root": str(node.root),
            }
            sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stopped.wait()


def main(words: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    arguments = _arguments(sys.argv[1:] if words is None else words)
    if arguments.reap_now:
        stop_processes(*(arguments.root.resolve() / name for name in arguments.names))
        return 0
    try:
        asyncio.run(_serve(arguments))
    except (OSError, ValueError) as failure:
        sys.stderr.write(f"sandbox: {failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

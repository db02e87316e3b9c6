"""A program on pyinfra's API, run by the Python that has it: commands on all nodes over kept connections.

`SETTINGS DOOR` connects to the nodes in SETTINGS, listens on the Unix socket DOOR, and runs each line that
comes there on all nodes at once, answering with one byte when it ended well everywhere.
"""

from gevent import monkey

monkey.patch_all()  # before sockets are imported, as pyinfra's own command does

import json  # noqa: E402 (the patch comes first)
import socket  # noqa: E402 (the patch comes first)
import sys  # noqa: E402 (the patch comes first)
from pathlib import Path  # noqa: E402 (the patch comes first)
from typing import Any  # noqa: E402 (the patch comes first)

from gevent.pool import Pool  # noqa: E402 (the patch comes first)
from pyinfra.api import Config, Inventory, State  # noqa: E402 (the patch comes first)
from pyinfra.api.connect import connect_all  # noqa: E402 (the patch comes first)


def connected(nodes: list[Any], data: dict[str, Any], at_once: int) -> State:
    state = State(Inventory((nodes, data)), Config(PARALLEL=at_once, CONNECT_TIMEOUT=60, FAIL_PERCENT=0))
    connect_all(state)
    return state


def everywhere(state: State, command: str, at_once: int) -> None:
    def one(host: Any) -> None:
        ran, output = host.run_shell_command(command=command)
        if not ran:
            raise RuntimeError(f"{host.name}: {output}")

    pool = Pool(at_once)
    for greenlet in [pool.spawn(one, host) for host in state.inventory]:
        greenlet.get()


def main(settings_file: str, door: str) -> None:
    settings = json.loads(Path(settings_file).read_text())
    at_once = settings["at_once"]
    state = connected([tuple(node) for node in settings["nodes"]], settings["data"], at_once)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{door}~")
        listening.listen(1)
        Path(f"{door}~").rename(door)
        asking, _ = listening.accept()
        with asking, asking.makefile() as lines:
            for line in lines:
                everywhere(state, line.strip(), at_once)
                asking.sendall(b".")


if __name__ == "__main__":
    main(*sys.argv[1:])

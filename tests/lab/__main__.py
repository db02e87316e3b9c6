"""The lab by hand: python -m tests.lab [--name LAB] VERB ... (as root)

up N                        create and boot n1..nN (later ones can be added: up 3, then up 5)
exec HOST COMMAND...        run a command in HOST ('hub': this machine's files, the lab's network)
ssh HOST [COMMAND...]       the same over SSH, as root, from the hub
kill HOST... | start HOST   cut the power (silent; the disk stays) and switch on again
wipe HOST                   cut the power and throw the disk away
reboot HOST                 reboot in order, from the inside
crash HOST UNIT             SIGKILL one service; the kernel closes its sockets
freeze HOST | thaw HOST     stop every process; the kernel still answers ARP, ping and SYN
link HOST down|up           pull or plug the cable
partition A,B C,hub         cut groups off from each other
block A B                   drop what goes from A to B only
heal                        undo partition and block
delay HOST MS [LOSS%]       delay (and lose) frames, each way; 0 undoes it
status | down               look at the lab; take it away without a trace
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab.kit import Lab, LabError
from tests.lab.kit.inside import LABS

EXIT_FAILED = 1
EXIT_USAGE = 2


def open_lab(options: argparse.Namespace) -> Lab:
    """Return the lab that the options name, with the settings of the call that made it."""
    directory = Path(options.directory or LABS / options.name)
    settings = {"network": options.network, "lower": options.lower}
    memory = directory / "lab.json"
    if memory.exists():
        settings = json.loads(memory.read_text())
    elif options.verb == "up":
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(json.dumps(settings))
    return Lab(name=options.name, directory=directory, **settings)


def replace_this_process(argv: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606  # the command takes this terminal over; argv, no shell


def verbs(lab: Lab) -> dict[str, Callable[..., None]]:
    """Return what each verb does with its words."""
    return {
        "up": lambda count: lab.up(int(count)),
        "exec": lambda host, *argv: replace_this_process(lab.command(host, *argv)),
        "ssh": lambda host, *argv: replace_this_process(lab.ssh_command(host, *argv)),
        "kill": lab.kill,
        "start": lab.start,
        "wipe": lab.wipe,
        "reboot": lab.reboot,
        "crash": lab.crash,
        "freeze": lab.freeze,
        "thaw": lab.thaw,
        "link": lambda host, state: lab.link(host, up={"up": True, "down": False}[state]),
        "partition": lambda *groups: lab.partition(*(group.split(",") for group in groups)),
        "block": lab.block,
        "heal": lab.heal,
        "delay": lambda host, ms, loss="0": lab.delay(host, float(ms), loss_percent=float(loss)),
        "status": lambda: print("\n".join(lab.status()) or "no hosts"),
        "down": lab.down,
    }


def main(argv: list[str]) -> int:
    """Do one verb; exit status 0, 1 when the lab could not, 2 for what makes no sense."""
    parser = argparse.ArgumentParser(
        usage=(__doc__ or "").replace("%", "%%"), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="lab")
    parser.add_argument("--directory")
    parser.add_argument("--network", default="10.77.0")
    parser.add_argument("--lower", default="/")
    parser.add_argument("verb")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    lab = open_lab(options)
    try:
        verbs(lab)[options.verb](*options.words)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyError, TypeError, ValueError):
        parser.print_usage(sys.stderr)
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

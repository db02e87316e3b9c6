"""hamgr on a further machine over SSH, from one where it runs; what `replica add HOST` and `replace` do.

1. Every step looks first whether it is done; the command can be given again after whatever went wrong.
2. The join token is made when everything else is ready, for this name only, and goes over standard input.
"""

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli import remote
from cli.commands import token
from cli.exits import CliError, Exit
from cli.options import client
from cli.output import note

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = "/opt/hamgr"
TOKEN_TTL = "15m"  # noqa: S105 - a time
NAME_CHARS_MAX = 31
PROBE = """
for p in python{version} python3 /usr/local/bin/python{version}; do
  command -v "$p" >/dev/null 2>&1 || continue
  v=$("$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || continue
  seen=$v
  [ "$v" = {version} ] || continue
  "$p" -c 'import venv' 2>/dev/null && {{ found=$(command -v "$p"); break; }}
done
echo "python=${{found:-}}"
echo "seen=${{seen:-none}}"
echo "machine=$(uname -m)"
echo "name=$(hostname -s 2>/dev/null || uname -n)"
[ -x {folder}/releases/{release}/bin/hamgrd ] && echo installed=yes
[ -e /etc/hamgr/hamgrd.yaml ] && echo replica=yes
[ -e /etc/hamgr/joining.json ] && echo joined=yes
df -Pk /opt 2>/dev/null | awk 'NR==2 {{print "free_kb=" $4}}'
true
"""
INSTALL = """
set -eu
umask 022
mkdir -p {folder}/releases
rm -rf {target}.new
{python} -m venv --without-pip {target}.new
site=$(echo {target}.new/lib/python*/site-packages)
tar -xzf - -C "$site"
for p in 'hamgr cli.main' 'hamgrd hamgr.commands'; do
  set -- $p
  file={target}.new/bin/$1
  printf '#!%s\\nimport sys\\nfrom %s import main\\nsys.exit(main())\\n' {target}/bin/python "$2" > "$file"
  chmod 755 "$file"
done
{target}.new/bin/python {target}.new/bin/hamgrd --version >&2
rm -rf {target}
mv -T {target}.new {target}
ln -sfn releases/{release} {folder}/current.new
mv -T {folder}/current.new {folder}/current
sync -f {folder} 2>/dev/null || sync
"""
LINK = "ln -sfn releases/{release} {folder}/current.new && mv -T {folder}/current.new {folder}/current"


def ssh_options(function: F) -> F:
    """Add how to log in, and what the replica is called."""
    for option in (
        click.option(
            "--accept-new-host-key", "accept_new", is_flag=True, help="Trust a host that is not known."
        ),
        click.option("--ssh-config", "config", default="", metavar="FILE", help="As `ssh -F`."),
        click.option("--port", type=click.IntRange(1, 65_535), help="Of its sshd."),
        click.option("--identity", "-i", default="", metavar="FILE", help="The SSH key to log in with."),
        click.option("--user", default="root", show_default=True, help="Who logs in; others use `sudo -n`."),
        click.option("--name", default="", help="Of the new replica.  [default: HOST, or its own name]"),
    ):
        function = option(function)
    return function


def over_ssh(machine: remote.Remote, *, name: str) -> str:
    """Install hamgr on a machine, and have it join; return the replica's name.

    Raises:
        CliError: A step failed; the ones before it need not be done again.
    """
    from cli import shipping  # noqa: PLC0415 - looking up thousands of files is for those who ship them

    asked = client()
    members = {item["name"]: item for item in asked.get("/v1/replicas")["items"]}
    shipment = shipping.pack()
    found = _probe(machine, shipment)
    name = name or name_of(machine.host) or name_of(found.get("name", "")) or ""
    if not name:
        raise CliError(Exit.USAGE, f"{machine.host} is no name for a replica", hint="add --name NAME")
    if members.get(name, {}).get("role") == "voter":
        note(f"{name} is a voter already")
        return name
    if found.get("replica") and not found.get("joined"):
        hint = "remove that one first, and move /etc/hamgr and /var/lib/hamgr away on that host"
        raise CliError(Exit.CONFLICT, f"{machine.host} is a replica already, made in another way", hint=hint)
    _install(machine, shipment, found)
    secret, _ = token.make(asked, joins_as="replica", ttl=TOKEN_TTL, name=name)
    note(f"{name}: joins the cluster")
    join = shlex.join([f"{FOLDER}/current/bin/hamgrd", "join", "-", "--name", name, "--start"])
    machine.feed(f"exec {join} >&2", lambda stdin: _write(stdin, secret))
    return name


def _probe(machine: remote.Remote, shipment: Any) -> dict[str, str]:
    from cli import shipping  # noqa: PLC0415 - as above

    version, architecture, _libc = shipping.fits()
    script = PROBE.format(version=version, folder=FOLDER, release=shipment.release)
    note(f"{machine.host}: looks")
    found = dict(line.split("=", 1) for line in machine.ask(script).splitlines() if "=" in line)
    if not found.get("installed") and (found.get("machine") != architecture or not found.get("python")):
        raise CliError(
            Exit.CONFLICT,
            f"{machine.host} has Python {found.get('seen')} on {found.get('machine')}, and this hamgr is for "
            f"Python {version} on {architecture}",
            hint=f"install Python {version} there; or hamgr in its own way, and `hamgrd join TOKEN --start`",
        )
    return found


def install(machine: remote.Remote, shipment: Any) -> None:
    """Install hamgr on a machine, without having it join; errors as `over_ssh`."""
    _install(machine, shipment, _probe(machine, shipment))


def _install(machine: remote.Remote, shipment: Any, found: dict[str, str]) -> None:
    if found.get("installed"):
        note(f"{machine.host}: hamgr {shipment.release} is there")
        machine.ask(LINK.format(folder=FOLDER, release=shipment.release))
        return
    needed_kb = shipment.size // 1024 * 2
    free_kb = found.get("free_kb", "")
    if free_kb.isdigit() and int(free_kb) < needed_kb:
        raise CliError(
            Exit.FAILED,
            f"{machine.host} has {int(free_kb) // 1024} MB free below /opt, of {needed_kb // 1024} needed",
            hint="make room there",
        )
    note(f"{machine.host}: gets hamgr {shipment.release} ({shipment.size // 1024 // 1024} MB)")
    target = f"{FOLDER}/releases/{shipment.release}"
    python = shlex.quote(found["python"])
    script = INSTALL.format(folder=FOLDER, target=target, python=python, release=shipment.release)
    machine.feed(script, shipment.write)


def _write(stdin: Any, text: str) -> None:
    stdin.write(text.encode() + b"\n")


def name_of(host: str) -> str:
    """Return a host's name as a replica's; empty when it is an address, or cannot be one."""
    label = host.partition(".")[0].lower()
    fits = label and len(label) <= NAME_CHARS_MAX and not host.replace(".", "").isdigit() and ":" not in host
    return label if fits and label.replace("-", "").isalnum() and label.isascii() and label[0] != "-" else ""

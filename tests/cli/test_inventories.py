"""Lists that people have: Ansible's two forms, CSV, and what is told of a line that cannot be used."""

from pathlib import Path

import pytest

from cli.exits import CliError
from cli.inventories.files import read
from cli.inventories.hosts import Host
from cli.inventories.table import addresses
from tests.cli.conftest import Cli, Replicas

INI = """\
# a comment
mail.example.com

[web]
web-[01:03] ansible_user=ops
Web-9 ansible_host=10.0.0.9 ansible_ssh_port=2222   ; not ours
[db:children]
primary
[primary]
db-a ansible_host="2001:DB8::1"
[db:vars]
ansible_user = dba
ansible_port=23
[primary:vars]
ansible_port=24
[all:vars]
ansible_user=root
http_port=80
"""
YAML = """\
all:
  hosts:
    mail.example.com:
  vars: {ansible_user: root}
  children:
    web:
      hosts:
        web-[01:02]: {ansible_user: ops, http_port: 80}
    db:
      vars: {ansible_user: dba}
      children:
        primary:
          hosts:
            db-a: {ansible_host: 10.0.0.5, ansible_port: 24}
"""
CSV = """\
name,address,port,user,role,rack
web-1,10.0.0.1,,ops,web,r1
web-2,10.0.0.2,2222,,,

"""


def hosts(tmp_path: Path, text: str, fmt: str = "", name: str = "hosts") -> dict[str, Host]:
    path = tmp_path / name
    path.write_text(text)
    return {host.name: host for host in read(str(path), fmt)}


def test_an_ini_inventory_gives_names_addresses_groups_and_what_groups_say(tmp_path: Path) -> None:
    found = hosts(tmp_path, INI.replace("   ; not ours", ""))
    assert list(found) == ["mail.example.com", "web-01", "web-02", "web-03", "web-9", "db-a"]
    assert found["mail.example.com"].labels == {}
    assert found["mail.example.com"].user == "root"
    assert (found["web-02"].address, found["web-02"].user) == ("web-02", "ops")
    assert (found["web-9"].address, found["web-9"].port) == ("10.0.0.9", 2222)
    assert found["web-9"].labels == {"group/web": "true"}
    primary = found["db-a"]
    assert (primary.address, primary.port, primary.user) == ("2001:db8::1", 24, "dba")
    assert primary.labels == {"group/db": "true", "group/primary": "true"}


def test_a_yaml_inventory_says_the_same(tmp_path: Path) -> None:
    found = hosts(tmp_path, YAML)
    assert list(found) == ["mail.example.com", "web-01", "web-02", "db-a"]
    assert found["web-01"].user == "ops"
    assert (found["db-a"].address, found["db-a"].port, found["db-a"].user) == ("10.0.0.5", 24, "dba")
    assert found["db-a"].labels == {"group/db": "true", "group/primary": "true"}


def test_csv_has_a_head_and_other_columns_are_labels(tmp_path: Path) -> None:
    found = hosts(tmp_path, CSV)
    first, second = found["web-1"], found["web-2"]
    assert (first.address, first.port, first.user, first.role) == ("10.0.0.1", 22, "ops", "web")
    assert (first.labels, second.labels, second.port) == ({"rack": "r1"}, {}, 2222)


@pytest.mark.parametrize(
    ("fmt", "text", "complaint"),
    [
        ("ini", "[web\nw1\n", ":1: '[web' is not a section"),
        ("ini", "[web:what]\n", ":1: [web:what] is no section"),
        ("ini", "w1 user\n", ":1: 'user' is not KEY=VALUE"),
        ("ini", "w1 a='b\n", ":1: no closing quotation"),
        ("ini", "\nw_1\n", ":2: 'w_1' cannot be a node's name"),
        ("ini", "w1 ansible_port=70000\n", ":1: the port of w1"),
        ("ini", "w[9:1]\n", ":1: [9:1] is not a range"),
        ("ini", "w[1:999999999]\n", ":1: [1:999999999] is not a range"),
        ("ini", "w1\n[a:children]\nb\n[b:children]\na\n", ": the group"),
        ("ini", "w1\n[a:children]\nghost\n", ": there is no group ghost"),
        ("ini", "# nothing\n", ": names no hosts"),
        ("yaml", "all: [w1]\n", ": the group all is a list"),
        ("yaml", "all:\n  host: {w1: }\n", ": the group all has 'host'"),
        ("yaml", "all: {\n", ":2: not YAML"),
        ("csv", "name,ip\nw1,10.0.0.1\n", ":1: has no column address"),
        ("csv", "name,address\nw1\n", ":2: has 1 values"),
        ("csv", "name,address\nw1,\n", ":2: w1 has no address"),
        ("csv", "name,address\nw1,a\nw1,b\n", ":3: w1 stands in the file twice"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(
    tmp_path: Path, fmt: str, text: str, complaint: str
) -> None:
    with pytest.raises(CliError) as failed:
        hosts(tmp_path, text, fmt)
    assert f"hosts{complaint}" in failed.value.message


def test_a_plain_list_has_comments_and_ipv6() -> None:
    assert addresses("10.0.0.1\n\n# x\nfd00::7  # y\n") == ["10.0.0.1", "fd00::7"]


def test_an_import_makes_hosts_known_and_discovers_them_once(
    live: Cli, replicas: Replicas, tmp_path: Path
) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text(CSV.replace("web,r1", ",r1").replace("web-", "new-"))
    dry = live("discover", "import", str(path), "--dry-run", "--exit-code")
    assert (dry.code, "10.0.0.2:2222" in dry.out, len(replicas.cluster.state.nodes)) == (10, True, 3)
    done = live("discover", "import", str(path), "--label", "site=x", "--detach")
    assert done.code == 0
    state = replicas.cluster.state
    assert state.nodes["new-1"].labels == {"rack": "r1", "site": "x"}
    assert state.nodes["new-2"].endpoint.port == 2222
    jobs = [job for job in state.jobs.values() if job.id in state.running]
    assert [endpoint.user for job in jobs for endpoint in job.endpoints.values()] == ["ops", "root"]
    again = live("discover", "import", str(path), "--detach")
    assert again.code == 0
    assert len(replicas.cluster.state.nodes) == 5


def test_ranges_lists_and_addresses_end_in_the_same_job(
    live: Cli, replicas: Replicas, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    path.write_text("10.0.0.1\nfd00::7 # six\n")
    assert live("discover", "list", str(path), "--detach").code == 0
    assert live("discover", "cidr", "10.1.0.0/30", "--detach").code == 0
    assert live("discover", "10.2.0.1", "--user", "ops", "--detach").code == 0
    jobs = list(replicas.cluster.state.jobs.values())[-3:]
    assert [list(job.endpoints) for job in jobs] == [
        ["10.0.0.1:22", "[fd00::7]:22"],
        ["10.1.0.1:22", "10.1.0.2:22"],
        ["10.2.0.1:22"],
    ]
    assert [job.sweep for job in jobs] == [False, True, False]
    refused = live("discover", "cidr", "10.1.0.1", "--detach")
    assert (refused.code, "is not a range" in refused.err) == (2, True)

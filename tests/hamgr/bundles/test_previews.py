"""Previews: what a step would do, told by the node itself, which is left as it was."""

import os
import shutil
import stat

import pytest

from hamgr.bundles import PREVIEW_BYTES_MAX, compile_preview
from statemachine.words import Verb

CONF = {"file": {"path": "/etc/x.conf", "template": "x.j2", "mode": "0640"}}


@pytest.fixture
def previewed(bundle_with):
    def previewed(
        step, files=None, *, verb=Verb.COMMISSION, written_as="commission", secrets=(), **variables
    ):
        bundle = bundle_with(step, files, secrets=secrets)
        return compile_preview(
            bundle, "c", verb, "s", variables=variables, facts={"os": "Debian"}, node_name="n1"
        )

    return previewed


def look(node, script, **environment):
    """Run a preview as the look at a node does, and see that it changed nothing; return its lines."""
    before = snapshot(node)
    done = node.run(b"(\n%b\n) </dev/null 2>&1\n" % script, **environment)
    assert snapshot(node) == before
    assert (done.returncode, done.stderr) == (0, ""), done
    assert len(done.stdout.encode(errors="surrogateescape")) <= PREVIEW_BYTES_MAX
    return done.stdout.splitlines()


def snapshot(node):
    return [(str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in node.root.rglob("*")]


def put(node, path, data, mode=0o640):
    file = node.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    file.chmod(mode)
    return file


def test_a_changed_file_is_shown_as_a_unified_diff(any_node, previewed, compiled):
    put(any_node, "etc/x.conf", "a\nport=80\nz\n")
    files = {"x.j2": "a\nport={{ port }}\nz\n"}
    assert look(any_node, previewed(CONF, files, port=81)) == [
        "would change the content of /etc/x.conf",
        "--- /etc/x.conf",
        "+++ /etc/x.conf",
        "@@ -1,3 +1,3 @@",
        " a",
        "-port=80",
        "+port=81",
        " z",
        "hamgr: would change",
    ]
    assert any_node.run(compiled(CONF, files, port=81)).stdout == "hamgr: changed\n"
    assert look(any_node, previewed(CONF, files, port=81)) == ["hamgr: unchanged"]


def test_a_diff_is_the_same_with_the_tools_of_a_small_system(node, previewed):
    if shutil.which("busybox") is None:
        assert shutil.which("diff"), "a machine without busybox has at least diff"
        return
    for tool in ("diff", "awk", "tr", "wc", "stat", "sha256sum", "head", "cat"):
        node.install(tool, f'#!/bin/sh\nexec busybox {tool} "$@"\n')
    put(node, "etc/x.conf", "a\nold=hunter22\nb")
    files = {"x.j2": "a\nnew={{ password }}\nb"}
    assert look(node, previewed(CONF, files, password="s3cret!", secrets=["password"]))[3:] == [
        "@@ -1,3 +1,3 @@",
        " a",
        "-*** (not shown: this file has secrets)",
        "+new=***",
        " b",
        "\\ No newline at end of file",
        "hamgr: would change",
    ]


def test_a_new_file_is_shown_whole_and_a_removed_one_is_named(any_node, previewed):
    assert look(any_node, previewed({"file": {"path": "/etc/m", "content": "one\ntwo", "mode": "0600"}})) == [
        "would create /etc/m with mode and owner 600",
        "--- /etc/m",
        "+++ /etc/m",
        "@@ -0,0 +1,2 @@",
        "+one",
        "+two",
        "\\ No newline at end of file",
        "hamgr: would change",
    ]
    gone = previewed({"file": {"path": "/etc/m", "state": "absent"}})
    assert look(any_node, gone) == ["hamgr: unchanged"]
    put(any_node, "etc/m", "x")
    assert look(any_node, gone) == ["would remove /etc/m", "hamgr: would change"]


def test_mode_and_owner_that_would_change_are_named(any_node, previewed):
    put(any_node, "etc/x.conf", "x\n", mode=0o644)
    me = str(os.getuid())
    step = {"file": {"path": "/etc/x.conf", "content": "x\n", "mode": "0600", "owner": me}}
    assert look(any_node, previewed(step))[-2:] == [
        f"would give /etc/x.conf mode and owner 600 {me}; it has 644 {me}"
        if os.getuid() == 0
        else "would give /etc/x.conf mode and owner 600; it has 644",
        "hamgr: would change",
    ]


def test_a_symbolic_link_and_a_directory_in_the_way_are_told(any_node, previewed):
    put(any_node, "etc/other", "x\n")
    (any_node.root / "etc/l").symlink_to("other")
    found = look(any_node, previewed({"file": {"path": "/etc/l", "content": "x\n"}}))
    assert found[0] == "would replace the symbolic link /etc/l by a file with mode and owner 644"
    assert found[-1] == "hamgr: would change"
    done = any_node.run(previewed({"file": {"path": "/etc", "content": "x\n"}}))
    assert (done.returncode, done.stderr) == (1, "hamgr: /etc is a directory\n")


def test_what_is_no_text_is_told_by_size_and_digest_alone(any_node, previewed):
    logo = {"logo": b"\x89PNG\0\n"}
    step = {"file": {"path": "/srv/logo", "source": "logo"}}
    new = "to 6 bytes, sha256 "
    found = look(any_node, previewed(step, logo))
    assert [line[: len(new)] for line in found[1:]] == [new, "hamgr: would change"]
    put(any_node, "srv/logo", b"\x89PNG\0\n", mode=0o644)
    assert look(any_node, previewed(step, logo)) == ["hamgr: unchanged"]
    put(any_node, "srv/logo", b"\0" * 100, mode=0o644)
    found = look(any_node, previewed({"file": {"path": "/srv/logo", "content": "a text now\n"}}))
    assert found[1].startswith("from 100 bytes, sha256 ")
    assert found[2].startswith("to 11 bytes, sha256 ")


def test_a_long_diff_is_cut_and_says_so(any_node, previewed):
    text = "".join(f"line {number}\n" for number in range(20_000))
    found = look(any_node, previewed({"file": {"path": "/etc/long", "content": "{{ text }}"}}, text=text))
    assert found[-2:] == ["[...] the rest of the diff is left out", "hamgr: would change"]
    found = look(
        any_node, previewed({"file": {"path": "/etc/long", "content": "{{ text }}"}}, text="x" * 99_999)
    )
    assert found[-2:] == ["[...] the rest of the diff is left out", "hamgr: would change"]


SECRET = 'a"b c&d\\e'
TEMPLATE = """\
plain={{ db.password }}
quoted={{ db.password | tojson }}
joined={{ [db.user, db.password] | join(':') }}
user={{ db.user }}
"""


def test_secrets_are_hidden_however_a_template_changes_them(any_node, previewed, compiled):
    variables = {"db": {"user": "u", "password": SECRET}}
    script = previewed(CONF, {"x.j2": TEMPLATE}, secrets=["db.password"], **variables)
    shown = ["+plain=***", '+quoted="***"', "+joined=u:***", "+user=u"]
    assert look(any_node, script)[4:] == [*shown, "hamgr: would change"]
    any_node.run(compiled(CONF, {"x.j2": TEMPLATE}, **variables))
    assert look(any_node, script) == ["hamgr: unchanged"]
    file = any_node.root / "etc/x.conf"
    file.write_text("old=something else\n" + file.read_text())
    assert look(any_node, script)[3:] == [
        "@@ -1,4 +1,3 @@",
        "-*** (not shown: this file has secrets)",
        *(" " + line[1:] for line in shown[:3]),
        "hamgr: would change",
    ]


def test_a_secret_of_many_lines_is_hidden_or_nothing_is_shown(any_node, previewed):
    key = "-----BEGIN-----\nAAAABBBB\nCC\n-----END-----\n"
    found = look(any_node, previewed(CONF, {"x.j2": "k\n{{ key }}"}, secrets=["key"], key=key))
    told = "from 0 bytes to 44; not shown, for it has secrets"
    assert found[1:] == [told, "hamgr: would change"]


def test_a_file_of_the_bundle_with_a_secret_in_it_hides_it_too(any_node, previewed):
    step = {"file": {"path": "/etc/x", "source": "x"}}
    for data in (b"a s3cret! b\n", b"\0s3cret!", b"\xffs3cret!"):
        told = "\n".join(look(any_node, previewed(step, {"x": data}, secrets=["p"], p="s3cret!")))
        assert "s3cret" not in told
        assert "***" in told or "not shown" in told
    told = look(any_node, previewed(step, {"x": b"\xffother"}, secrets=["p"], p="s3cret!"))
    assert told[1].startswith("to 6 bytes, sha256 ")


def test_a_script_asks_its_check_and_leaves_no_trace(any_node, previewed):
    put(any_node, "var/lib/hamgr/scripts/of-a-running-step.1", "sleep 9\n")
    step = {"script": {"content": "echo work >>log\n", "class": "checkable", "check": "c.sh"}}
    text = (
        '#!/bin/sh -e\necho noise\nread -r line && exit 9\n[ "$HAMGR_VAR_v" = 1 ]\n[ "$HAMGR_NODE" = n1 ]\n'
    )
    files = {"c.sh": text}
    assert look(any_node, previewed(step, files, v="1")) == ["hamgr: unchanged"]
    assert look(any_node, previewed(step, files, v="2")) == [
        "its check says that the work is not done",
        "hamgr: would change",
    ]
    assert look(any_node, previewed({"script": {"content": "echo work >>log\n"}}))[-1] == "hamgr: unknown"


def test_a_large_check_in_another_language_is_asked_as_well(any_node, previewed):
    step = {"script": {"content": "true\n", "class": "checkable", "check": "c.py"}}
    comment = "# \xe9 " + "x" * 200_000 + "\n"
    for status, expected in ((0, "hamgr: unchanged"), (1, "hamgr: would change")):
        text = f"#!/usr/bin/env python3\n{comment}import sys\nsys.exit({status})\n"
        assert look(any_node, previewed(step, {"c.py": text}))[-1] == expected
        assert (
            look(any_node, previewed(step, {"c.py": text.encode("latin-1").replace(b"\xe9", b"e")}))[-1]
            == expected
        )


def test_a_check_that_reads_its_input_does_not_read_itself(any_node, previewed):
    step = {"script": {"content": "true\n", "class": "checkable", "check": "c.sh"}}
    text = "cat >/dev/null\n" + "# and so on\n" * 20_000 + "exit 1\n"
    assert look(any_node, previewed(step, {"c.sh": text}))[-1] == "hamgr: would change"


def test_a_check_tells_whether_it_holds_now_and_never_that_it_would_change(any_node, previewed):
    step = {"check": {"file": {"path": "/etc/x"}, "within_s": 60}}
    assert look(any_node, previewed(step)) == [
        "it does not hold now: /etc/x is not there",
        "",
        "hamgr: unchanged",
    ]
    put(any_node, "etc/x", "")
    assert look(any_node, previewed(step)) == ["it holds now", "hamgr: unchanged"]
    flood = {"check": {"command": ["sh", "-c", "head -c 900000 /dev/zero | tr '\\0' x; exit 1"]}}
    assert look(any_node, previewed(flood))[-1] == "hamgr: unchanged"


def test_what_only_looks_would_change_nothing(any_node, previewed):
    assert look(any_node, previewed(CONF, {"x.j2": "x"}, verb=Verb.VERIFY)) == ["hamgr: unchanged"]


def test_a_preview_needs_no_right_to_write(any_node, previewed):
    put(any_node, "etc/x.conf", "old\n")
    any_node.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert look(any_node, previewed(CONF, {"x.j2": "new\n"}))[-1] == "hamgr: would change"
    finally:
        any_node.root.chmod(0o755)

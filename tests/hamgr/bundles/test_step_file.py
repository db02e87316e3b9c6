"""`file` steps, run for real under every shell that the machine has."""

import hashlib
import os
import subprocess

import pytest

from statemachine.words import Verb

CONTENTS = {
    "empty": b"",
    "newline": b"\n",
    "no-newline-at-the-end": b"last line has none",
    "many-newlines": b"\n\n\nx\n\n",
    "shell": b"$HOME `id` $(id) \\ \\\\ \" ' ! # ; & | < > * ? [a] {a,b} ~ %s \\n\n",
    "here-document": b"EOF\nEND_0\nEND_1\nEND_3\ntouch canary\nEND_",
    "carriage-return": b"a\r\nb\r",
    "long-lines": b"x" * 100_000 + b"\n" + b"y" * 50_000,
    "utf-8": "äöü €  \u2028 \U0001f600 \u0081\u0088\n".encode(),
    "control": bytes(range(1, 32)) + b"\x7f\n",
    "latin-1": b"\xe4\xf6\xfc\n",
    "every-byte": bytes(range(256)) * 20,
    "nul": b"a\0b",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_byte_arrives_and_nothing_more(any_node, compiled, name):
    step = {"file": {"path": "/etc/some dir/it's", "source": "f"}}
    script = compiled(step, {"f": CONTENTS[name]})
    done = any_node.run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hamgr: changed\n", "")
    assert any_node.tree() == {"etc/some dir/it's": (0o644, CONTENTS[name])}
    again = any_node.run(script)
    assert (again.returncode, again.stdout, again.stderr) == (0, "hamgr: unchanged\n", "")


def test_what_is_equal_is_not_written_again(node, compiled):
    script = compiled({"file": {"path": "/f", "content": "x\n"}})
    node.run(script)
    before = (node.root / "f").stat()
    assert node.run(script).stdout == "hamgr: unchanged\n"
    after = (node.root / "f").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@pytest.mark.parametrize(
    ("mode", "found"), [("0600", 0o600), ("755", 0o755), ("4755", 0o4755), (None, 0o644)]
)
def test_the_mode_is_set_and_a_changed_one_is_put_right(node, compiled, mode, found):
    step = {"file": {"path": "/f", "content": "x\n", **({"mode": mode} if mode else {})}}
    assert node.run(compiled(step)).stdout == "hamgr: changed\n"
    assert node.tree()["f"][0] == found
    (node.root / "f").chmod(0o777)
    assert node.run(compiled(step)).stdout == "hamgr: changed\n"
    assert node.tree()["f"] == (found, b"x\n")


def test_an_executable_source_stays_executable(node, compiled):
    node.run(compiled({"file": {"path": "/run", "source": "run.sh"}}, {"run.sh": "#!/bin/sh\n"}))
    assert node.tree()["run"][0] == 0o755


def test_a_symbolic_link_is_replaced_and_its_target_left_alone(node, compiled):
    (node.root / "real").write_text("x\n")
    (node.root / "f").symlink_to("real")
    assert node.run(compiled({"file": {"path": "/f", "content": "x\n"}})).stdout == "hamgr: changed\n"
    assert not (node.root / "f").is_symlink()
    (node.root / "f").write_text("other")
    assert (node.root / "real").read_text() == "x\n"


def test_a_directory_in_the_way_is_an_error_and_stays(node, compiled):
    (node.root / "f").mkdir()
    (node.root / "f/inside").write_text("kept")
    for step in ({"path": "/f", "content": "x"}, {"path": "/f", "state": "absent"}):
        done = node.run(compiled({"file": step}))
        assert (done.returncode, done.stderr) == (1, "hamgr: /f is a directory\n")
    assert node.tree() == {"f/inside": (0o644, b"kept")}


def test_a_link_left_at_the_temporary_name_is_not_followed(node, compiled):
    (node.root / "victim").write_text("kept")
    (node.root / ".f.hamgr-new").symlink_to("victim")
    assert node.run(compiled({"file": {"path": "/f", "content": "x"}})).returncode == 0
    assert node.tree() == {"f": (0o644, b"x"), "victim": (0o644, b"kept")}


def test_a_full_disk_leaves_the_old_file(node, compiled):
    (node.root / "f").write_text("old")
    script = compiled({"file": {"path": "/f", "content": "x" * 20_000}})
    # A limit on the size of files fails a write just as a full disk does.
    done = node.run(b"ulimit -f 8; trap '' XFSZ\n" + script)
    assert done.returncode != 0
    assert "hamgr: cannot write" in done.stderr
    assert node.tree()["f"] == (0o644, b"old")
    assert node.run(script).stdout == "hamgr: changed\n"
    assert node.tree() == {"f": (0o644, b"x" * 20_000)}


def test_a_disk_that_loses_bytes_silently_leaves_the_old_file(node, compiled):
    (node.root / "f").write_text("old")
    node.install("cat", "#!/bin/sh\nhead -c 3\n")
    done = node.run(compiled({"file": {"path": "/f", "content": "new content\n"}}))
    assert done.returncode == 1
    assert "what was written for /f is not what was sent" in done.stderr
    assert node.tree()["f"] == (0o644, b"old")


def test_absent_removes_the_file_once(any_node, compiled):
    (any_node.root / "etc").mkdir()
    (any_node.root / "etc/f").write_text("x")
    script = compiled({"file": {"path": "/etc/f", "state": "absent"}})
    assert any_node.run(script).stdout == "hamgr: changed\n"
    assert any_node.tree() == {}
    assert any_node.run(script).stdout == "hamgr: unchanged\n"
    (any_node.root / "etc/f").symlink_to("/nowhere")
    assert any_node.run(script).stdout == "hamgr: changed\n"
    assert not (any_node.root / "etc/f").is_symlink()


def test_an_absent_file_in_an_absent_directory_is_done(node, compiled):
    done = node.run(compiled({"file": {"path": "/no/such/f", "state": "absent"}}))
    assert (done.returncode, done.stdout) == (0, "hamgr: unchanged\n")
    assert not (node.root / "no").exists()


DRIFT = {
    "content": (lambda f: f.write_text("y\n"), "/f has other content"),
    "mode": (lambda f: f.chmod(0o666), "/f has mode and owner 666, not 640"),
    "gone": (lambda f: f.unlink(), "/f is not there"),
    "link": (lambda f: (f.rename(f.with_name("g")), f.symlink_to("g")), "/f is a symbolic link"),
    "directory": (lambda f: (f.unlink(), f.mkdir()), "/f is not a file"),
}


@pytest.mark.parametrize("name", DRIFT)
def test_verify_sees_drift_and_changes_nothing(any_node, compiled, name):
    step = {"file": {"path": "/f", "content": "x\n", "mode": "0640"}}
    any_node.run(compiled(step))
    verify = compiled(step, verb=Verb.VERIFY)
    assert any_node.run(verify).returncode == 0
    spoil, sentence = DRIFT[name]
    spoil(any_node.root / "f")
    before = any_node.tree()
    done = any_node.run(verify)
    assert (done.returncode, done.stderr) == (1, f"hamgr: {sentence}\n")
    assert any_node.tree() == before


def test_verify_of_absence_sees_a_file_and_a_dangling_link(node, compiled):
    verify = compiled({"file": {"path": "/f", "state": "absent"}}, verb=Verb.VERIFY)
    assert node.run(verify).returncode == 0
    (node.root / "f").symlink_to("/nowhere")
    done = node.run(verify)
    assert (done.returncode, done.stderr) == (1, "hamgr: /f is there\n")


def test_verify_carries_no_content(compiled):
    step = {"file": {"path": "/f", "content": "secret words\n"}}
    verify = compiled(step, verb=Verb.VERIFY)
    assert b"secret words" not in verify
    assert hashlib.sha256(b"secret words\n").hexdigest().encode() in verify


@pytest.fixture
def ordinary_user(node):
    """A node whose `id` says that nobody is root, and whose `chown` would be noticed."""
    names = {"-u": "1000", "-un": "me", "-g": "1000", "-gn": "us"}
    cases = " ".join(f"{flag}) echo {name};;" for flag, name in names.items())
    node.install("id", f"#!/bin/sh\ncase $1 in {cases} esac\n")
    node.install("chown", "#!/bin/sh\necho chown was called\nexit 1\n")
    return node


def test_on_a_practice_node_another_owner_is_noted_and_ignored(ordinary_user, compiled):
    step = {"file": {"path": "/f", "content": "x", "owner": "root", "group": "www"}}
    done = ordinary_user.run(compiled(step))
    assert (done.returncode, done.stdout) == (
        0,
        "hamgr: practice node: /f is not given to root:www\nhamgr: changed\n",
    )
    assert ordinary_user.tree()["f"] == (0o644, b"x")
    assert ordinary_user.run(compiled(step)).stdout.endswith("hamgr: unchanged\n")
    assert ordinary_user.run(compiled(step, verb=Verb.VERIFY)).returncode == 0


def test_on_a_host_another_owner_needs_root_and_nothing_is_written(ordinary_user, compiled):
    path = str(ordinary_user.root / "f")
    done = ordinary_user.run(
        compiled({"file": {"path": path, "content": "x", "owner": "root"}}), HAMGR_ROOT=""
    )
    assert done.returncode == 1
    assert done.stderr == f"hamgr: cannot give {path} to root: hamgr does not log in as root here\n"
    assert "f" not in ordinary_user.tree()


def test_the_own_user_is_no_other_owner(ordinary_user, compiled):
    for owner, group in (("me", "us"), ("1000", "1000")):
        done = ordinary_user.run(
            compiled({"file": {"path": "/f", "content": owner, "owner": owner, "group": group}})
        )
        assert (done.returncode, done.stdout) == (0, "hamgr: changed\n")


def test_root_gives_files_away(node, compiled):
    """Root itself where the test runs as root; elsewhere `chown` and `stat` that say what root's would."""
    if os.geteuid() != 0:
        node.install("id", "#!/bin/sh\necho 0\n")
        node.install("chown", '#!/bin/sh\nprintf %s "$1" >"$HAMGR_ROOT/owner"\n')
        node.install("stat", '#!/bin/sh\necho "644 $(tr : " " <"$HAMGR_ROOT/owner")"\n')
    step = {"file": {"path": "/f", "content": "x", "owner": "1234", "group": "2345"}}
    assert node.run(compiled(step)).stdout == "hamgr: changed\n"
    assert node.run(compiled(step)).stdout == "hamgr: unchanged\n"
    assert node.run(compiled(step, verb=Verb.VERIFY)).returncode == 0
    if os.geteuid() == 0:
        found = (node.root / "f").stat()
        assert (found.st_uid, found.st_gid) == (1234, 2345)
        os.chown(node.root / "f", 0, 0)
        done = node.run(compiled(step, verb=Verb.VERIFY))
        assert done.stderr == "hamgr: /f has mode and owner 644 0 0, not 644 1234 2345\n"
        assert node.run(compiled(step)).stdout == "hamgr: changed\n"
        assert (node.root / "f").stat().st_uid == 1234


def test_a_reader_finds_the_old_file_or_the_new_one(node, compiled):
    """The new content is complete before it has the name."""
    (node.root / "f").write_text("old")
    node.install("mv", '#!/bin/sh\ncat "$HAMGR_ROOT/f"; cat "$2"; exec /bin/mv "$@"\n')
    done = node.run(compiled({"file": {"path": "/f", "content": "new"}}))
    assert done.stdout == "oldnewhamgr: changed\n"


def test_nobody_else_can_read_a_file_while_it_is_written(node, compiled):
    node.install("cat", '#!/bin/sh\nstat -c %a "$HAMGR_ROOT/.f.hamgr-new" >&2\nexec /bin/cat\n')
    done = node.run(compiled({"file": {"path": "/f", "content": "secret\n", "mode": "0400"}}))
    assert (done.returncode, done.stderr) == (0, "600\n")
    assert node.tree()["f"] == (0o400, b"secret\n")


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(node, compiled):
    node.install(
        "sync", '#!/bin/sh\nprintf "sync %s\\n" "${1##*/}"; [ ! -f "$HAMGR_ROOT/d/f" ] || echo there\n'
    )
    done = node.run(compiled({"file": {"path": "/d/f", "content": "new"}}))
    assert done.stdout == "sync .f.hamgr-new\nsync d\nthere\nhamgr: changed\n"
    node.install("sync", "#!/bin/sh\nexit 1\n")
    done = node.run(compiled({"file": {"path": "/d/f", "content": "newer"}}))
    assert (done.returncode, done.stderr) == (1, "hamgr: cannot store /d/f on the disk\n")
    assert node.tree()["d/f"][1] == b"new"


def test_scripts_have_no_syntax_that_only_some_shells_know(compiled):
    script = compiled({"file": {"path": "/f", "content": "x", "owner": "root"}})
    assert subprocess.run(["sh", "-n"], input=script, check=False).returncode == 0

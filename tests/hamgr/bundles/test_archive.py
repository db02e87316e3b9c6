"""Archives: what is accepted, what is refused by name, and one digest for equal content."""

import gzip
import io
import subprocess
import tarfile

import pytest

from hamgr.bundles import BundleInvalid
from hamgr.bundles import archive as archive_module
from hamgr.bundles.archive import digest_of, pack, read_archive
from hamgr.bundles.bundle import BundleFile


def entry_of(name, kind=tarfile.REGTYPE, link="", data=b"", size=None):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, len(data) if size is None else size
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def problems_of(data):
    with pytest.raises(BundleInvalid) as caught:
        read_archive(data)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def directory(tmp_path):
    top = tmp_path / "site"
    (top / "components/web").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / ".git/hooks").mkdir(parents=True)
    (top / ".git/hooks/pre-commit.sample~").write_text("x")
    (top / "hamgr.yaml").write_text("version: 1\n")
    (top / "components/web/run.sh").write_text("#!/bin/sh\n")
    (top / "components/web/run.sh").chmod(0o755)
    return top


def tar(*arguments):
    return subprocess.run(["tar", *arguments], check=True, capture_output=True).stdout


def test_what_tar_makes_of_a_directory_is_read_in_every_usual_form(directory):
    forms = [
        tar("-C", directory, "-c", "."),
        tar("-C", directory, "-cz", "."),
        tar("-C", directory, "--format=pax", "-c", "."),
        tar("-C", directory.parent, "-c", "site"),
        tar("-C", directory, "-c", "hamgr.yaml", "components"),
        tar("-C", directory.parent, "-c", "./site"),
    ]
    for data in forms:
        files = read_archive(data)
        assert list(files) == ["components/web/run.sh", "hamgr.yaml"]
        assert files["components/web/run.sh"] == BundleFile(data=b"#!/bin/sh\n", executable=True)
        assert not files["hamgr.yaml"].executable


def test_equal_content_has_one_digest_whatever_its_order_times_and_owners(directory):
    first = pack(read_archive(tar("-C", directory, "-cz", ".")))
    later = tar("-C", directory, "--mtime=@1", "--owner=a:7", "--sort=name", "--mode=go-r", "-c", ".")
    assert pack(read_archive(later)) == first
    (directory / "hamgr.yaml").chmod(0o755)
    assert pack(read_archive(tar("-C", directory, "-c", "."))) != first


def test_the_owners_execute_bit_alone_makes_a_file_executable(tar_of):
    modes = {0o744: True, 0o645: False, 0o4700: True, 0o666: False}
    found = {mode: read_archive(tar_of({"f": ""}, mode=mode))["f"].executable for mode in modes}
    assert found == modes


def test_the_packed_form_of_known_files_never_changes():
    packed = pack(
        {"hamgr.yaml": BundleFile(data=b"version: 1\n"), "a/x.sh": BundleFile(data=b"", executable=True)}
    )
    assert digest_of(packed) == "sha256:cb53f28c464730770851e3c23613ce9e132fd00ff4d9281fd02478807472cf30"


def test_packing_what_was_packed_changes_nothing():
    long = "/".join(["n" * 90, "m" * 90])
    files = {
        "hamgr.yaml": BundleFile(data=b"v"),
        long: BundleFile(data=b"\0" * 513),
        "é/ü": BundleFile(data=b""),
    }
    packed = pack(files)
    assert read_archive(packed) == files
    assert pack(read_archive(packed)) == packed


REFUSED = {
    "absolute": (entry_of("/etc/passwd"), "/etc/passwd:1:1: has an absolute name"),
    "parent": (entry_of("a/../../b"), "a/../../b:1:1: leaves the bundle"),
    "parent-alone": (entry_of(".."), "..:1:1: leaves the bundle"),
    "dot-inside": (entry_of("a/./b"), "a/./b:1:1: has an empty or `.` part"),
    "double-slash": (entry_of("a//b"), "a//b:1:1: has an empty or `.` part"),
    "symbolic-link": (entry_of("l", tarfile.SYMTYPE, "/etc/passwd"), "l:1:1: is a symbolic link"),
    "hard-link": (entry_of("l", tarfile.LNKTYPE, "hamgr.yaml"), "l:1:1: is a hard link (pack with"),
    "character-device": (entry_of("d", tarfile.CHRTYPE), "d:1:1: is a character device"),
    "block-device": (entry_of("d", tarfile.BLKTYPE), "d:1:1: is a block device"),
    "pipe": (entry_of("p", tarfile.FIFOTYPE), "p:1:1: is a named pipe"),
    "unknown-kind": (entry_of("u", b"Z"), "u:1:1: is "),
    "twice": (entry_of("t") + entry_of("t"), "t:1:1: is in the archive twice"),
    "twice-in-disguise": (entry_of("t") + entry_of("./t"), "t:1:1: is in the archive twice"),
    "newline": (entry_of("a\nb"), "a\\nb:1:1: has a backslash, a control character"),
    "escape-sequence": (entry_of("\x1b[2J"), "\\x1b[2J:1:1: has a backslash, a control character"),
    "backslash": (entry_of("a\\b"), "a\\b:1:1: has a backslash"),
    "not-utf-8": (entry_of("a\udcff"), "a\\udcff:1:1: has a backslash, a control character or bytes"),
    "long-name": (entry_of("x" * 201), "has a name of more than 200 bytes"),
    "backup": (entry_of("hamgr.yaml~"), "hamgr.yaml~:1:1: is an editor's or tool's left-over (delete it"),
    "swap": (entry_of("components/.x.swp"), "is an editor's or tool's left-over"),
    "compiled": (entry_of("__pycache__/x.py"), "is an editor's or tool's left-over"),
    "file-and-directory": (entry_of("a") + entry_of("a/b"), "a:1:1: is both a file and a directory"),
    "large": (
        entry_of("big", data=bytes(1024 * 1024 + 1)),
        "big:1:1: has 1048577 bytes; a file may have 1048576",
    ),
    "cut-off": (entry_of("short", size=5000)[:512] + b"x" * 100, "archive:1:1: "),
    # Older readers of the standard library call the whole of it "not a tar file".
    "negative-size": (entry_of("short", size=-1024), "archive:1:1: is "),
    "garbage": (b"hello" * 1000, "archive:1:1: is not a tar file"),
    "empty": (b"", "archive:1:1: is not a tar file"),
    "bad-gzip": (b"\x1f\x8b" + b"x" * 100, "archive:1:1: is damaged gzip data"),
    "cut-gzip": (gzip.compress(entry_of("a") * 100)[:-12], "archive:1:1: is gzip data that ends too early"),
    "behind-gzip": (gzip.compress(entry_of("a")) + b"more", "archive:1:1: has bytes after the end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_that_could_do_harm_is_refused_by_name(name):
    data, expected = REFUSED[name]
    if name not in {"garbage", "empty", "cut-off"} and not data.startswith(b"\x1f\x8b"):
        data += bytes(1024)
    assert any(expected in problem for problem in problems_of(data)), problems_of(data)


def test_every_refused_entry_is_named_at_once():
    data = entry_of("/a") + entry_of("b", tarfile.SYMTYPE, "x") + entry_of("c~") + bytes(1024)
    assert [problem.split(":")[0] for problem in problems_of(data)] == ["/a", "b", "c~"]


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(archive_module, "TAR_BYTES_MAX", 100_000)
    assert "unpacks to more than 100000 bytes" in problems_of(gzip.compress(bytes(200_000)))[0]
    assert "is larger than 100000 bytes" in problems_of(bytes(200_000))[0]
    nested = b"".join(gzip.compress(b"") for _ in range(1000))
    assert "has bytes after the end of the gzip data" in problems_of(nested)[0]


def test_too_many_files_and_too_much_content_are_refused(monkeypatch):
    many = b"".join(entry_of(f"f{number}") for number in range(1001)) + bytes(1024)
    assert problems_of(many) == ["f1000:1:1: is one file too many; a bundle may have 1000"]
    monkeypatch.setattr(archive_module, "CONTENT_BYTES_MAX", 1000)
    much = entry_of("a", data=bytes(600)) + entry_of("b", data=bytes(600)) + bytes(1024)
    assert problems_of(much) == ["b:1:1: makes the bundle larger than 1000 bytes"]
    monkeypatch.setattr(archive_module, "ENTRIES_MAX", 10)
    assert "has more than 10 entries" in problems_of(b"".join(entry_of(".git/x") for _ in range(20)))[0]


def test_a_chain_of_headers_that_recurses_is_refused():
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2
    block = long.tobuf(tarfile.GNU_FORMAT) + b"x\0" + bytes(510)
    assert problems_of(block * 3000)[0].startswith("archive:1:1: ")


def test_a_sparse_file_is_refused(tmp_path):
    (tmp_path / "hole").write_bytes(b"")
    with (tmp_path / "hole").open("r+b") as file:
        file.truncate(500_000)
    data = tar("-C", tmp_path, "--sparse", "--format=gnu", "-c", "hole")
    assert problems_of(data) == ["hole:1:1: is stored as a sparse file (pack without `tar --sparse`)"]


def test_a_streamed_archive_is_read():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|gz") as packed:
        entry = tarfile.TarInfo("hamgr.yaml")
        entry.size = 2
        packed.addfile(entry, io.BytesIO(b"x\n"))
    assert read_archive(out.getvalue()) == {"hamgr.yaml": BundleFile(data=b"x\n")}

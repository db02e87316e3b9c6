"""Reads an uploaded archive and packs it again, so that equal content has one digest.

1. An archive is a tar file, plain or gzip, of a bundle's directory: `tar -C DIR -c .` or `tar -c DIR`.
2. Only regular files and directories are accepted, and only names that stay below the root. Everything
   else is refused by name; nothing is dropped silently except what rule 3 says.
3. What is called `.git` or lies below it, and directories without files, are not part of a bundle.
4. Every size is bounded before memory is taken for it.
5. Packing depends on names, content and the owner's execute bit alone.
"""

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping

from hamgr.bundles.bundle import BundleFile
from hamgr.bundles.problems import BundleInvalid, Problem
from statemachine.words import Digest

FILES_MAX = 1_000
FILE_BYTES_MAX = 1024 * 1024
CONTENT_BYTES_MAX = 8 * 1024 * 1024
NAME_BYTES_MAX = 200
ENTRIES_MAX = 20_000
"""Files, directories and what is below `.git` together."""
TAR_BYTES_MAX = CONTENT_BYTES_MAX + 16 * 1024 * 1024
"""The unpacked archive with all of its headers and whatever is below `.git`."""
GZIP_MEMBERS_MAX = 16
"""Parts of a gzip file; each costs a copy of what follows it."""

_GZIP_MAGIC = b"\x1f\x8b"
_BACKUP = re.compile(r".*~|\.#.*|#.*#|\..*\.sw[a-p]|.*\.(orig|rej|bak|pyc)|\._.*|\.DS_Store|__pycache__")
_KINDS = {
    tarfile.SYMTYPE: ("is a symbolic link", "put a copy of the file there"),
    tarfile.LNKTYPE: ("is a hard link", "pack with `tar --hard-dereference`"),
    tarfile.CHRTYPE: ("is a character device", ""),
    tarfile.BLKTYPE: ("is a block device", ""),
    tarfile.FIFOTYPE: ("is a named pipe", ""),
    tarfile.GNUTYPE_SPARSE: ("is stored as a sparse file", "pack without `tar --sparse`"),
}


def read_archive(data: bytes) -> dict[str, BundleFile]:
    """Read an upload into its files, by their name below the root of the bundle, sorted.

    Raises:
        BundleInvalid: With every entry that is refused.
    """
    problems: list[Problem] = []
    files: dict[str, BundleFile] = {}
    size_bytes = 0
    with _opened(_unpacked(data)) as tar:
        for entry in _entries(tar):
            name = entry.name.removeprefix("./").rstrip("/")
            if ".git" in name.split("/"):
                continue
            complaint = _complaint(entry, name, files)
            if complaint is not None:
                problems.append(complaint)
            elif entry.isfile():
                size_bytes += entry.size
                if size_bytes > CONTENT_BYTES_MAX or len(files) >= FILES_MAX:
                    raise BundleInvalid([*problems, _too_much(name, len(files))])
                files[name] = BundleFile(data=_content(tar, entry), executable=bool(entry.mode & 0o100))
    files = _without_top(files)
    problems += _files_below_files(files)
    if problems:
        raise BundleInvalid(problems)
    return dict(sorted(files.items()))


def pack(files: Mapping[str, BundleFile]) -> bytes:
    """Return the one tar file that stands for `files`; reading it gives `files` again."""
    parts: list[bytes] = []
    for name, file in sorted(files.items()):
        header = tarfile.TarInfo(name)
        header.size = len(file.data)
        header.mode = 0o755 if file.executable else 0o644
        parts += [header.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"), file.data]
        parts.append(bytes(-len(file.data) % tarfile.BLOCKSIZE))
    parts.append(bytes(2 * tarfile.BLOCKSIZE))
    return b"".join(parts)


def digest_of(packed: bytes) -> Digest:
    """Return the name of a bundle: `sha256:` and the hash of its packed bytes."""
    return Digest("sha256:" + hashlib.sha256(packed).hexdigest())


def _unpacked(data: bytes) -> bytes:
    """Undo gzip, at most `TAR_BYTES_MAX` of it."""
    if not data.startswith(_GZIP_MAGIC):
        if len(data) > TAR_BYTES_MAX:
            raise BundleInvalid([_of_archive(f"is larger than {TAR_BYTES_MAX} bytes")])
        return data
    parts: list[bytes] = []
    room = TAR_BYTES_MAX + 1
    rest = data
    for _ in range(GZIP_MEMBERS_MAX):
        if not rest.startswith(_GZIP_MAGIC):
            break
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            part = inflater.decompress(rest, room)
        except zlib.error as error:
            raise BundleInvalid([_of_archive(f"is damaged gzip data: {error}")]) from error
        parts.append(part)
        room -= len(part)
        if room <= 0:
            raise BundleInvalid([_of_archive(f"unpacks to more than {TAR_BYTES_MAX} bytes")])
        if not inflater.eof:
            raise BundleInvalid([_of_archive("is gzip data that ends too early")])
        rest = inflater.unused_data
    if rest.strip(b"\0"):
        raise BundleInvalid([_of_archive("has bytes after the end of the gzip data")])
    return b"".join(parts)


def _opened(data: bytes) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape")
    except _DAMAGE as error:
        hint = "send what `tar -C DIRECTORY -c .` writes, plain or with gzip"
        raise BundleInvalid([_of_archive(f"is not a tar file: {error}", hint)]) from error


# What the standard library's reader is known to raise for bytes that are not a sound archive.
_DAMAGE = (tarfile.TarError, ValueError, EOFError, OverflowError, LookupError, RecursionError, OSError)


def _entries(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for _ in range(ENTRIES_MAX):
        try:
            entry = tar.next()
        except _DAMAGE as error:
            raise BundleInvalid([_of_archive(f"is a damaged tar file: {error}")]) from error
        if entry is None:
            return
        if entry.size < 0:
            raise BundleInvalid([_of_archive("is a damaged tar file: an entry has a negative size")])
        yield entry
    raise BundleInvalid([_of_archive(f"has more than {ENTRIES_MAX} entries")])


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    try:
        source = tar.extractfile(entry)
        data = source.read() if source is not None else b""
    except _DAMAGE as error:
        raise BundleInvalid([_of_archive(f"is damaged: {error}")]) from error
    if len(data) != entry.size:
        raise BundleInvalid([_of_archive(f"ends in the middle of {_shown(entry.name)}")])
    return data


def _complaint(entry: tarfile.TarInfo, name: str, files: Mapping[str, BundleFile]) -> Problem | None:
    """Say why an entry is refused, if it is."""
    shown = _shown(entry.name)
    if entry.isdir() and name in {"", "."}:
        return None
    fault = _name_fault(name)
    if fault is not None:
        return Problem(shown, 1, 1, fault)
    if any(_BACKUP.fullmatch(part) for part in name.split("/")):
        return Problem(shown, 1, 1, "is an editor's or tool's left-over", "delete it, then pack again")
    if entry.isdir():
        return None
    if not entry.isreg() or entry.issparse():
        what, hint = _KINDS.get(entry.type, ("is neither a file nor a directory", ""))
        return Problem(shown, 1, 1, what, hint)
    if name in files:
        return Problem(shown, 1, 1, "is in the archive twice")
    if entry.size > FILE_BYTES_MAX:
        return Problem(shown, 1, 1, f"has {entry.size} bytes; a file may have {FILE_BYTES_MAX}")
    return None


def _name_fault(name: str) -> str | None:
    parts = name.split("/")
    if name.startswith("/"):
        return "has an absolute name"
    if ".." in parts:
        return "leaves the bundle: its name contains `..`"
    if "" in parts or "." in parts:
        return "has an empty or `.` part in its name"
    if "\\" in name or not name.isprintable():
        return "has a backslash, a control character or bytes that are not UTF-8 in its name"
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"has a name of more than {NAME_BYTES_MAX} bytes"
    return None


def _without_top(files: dict[str, BundleFile]) -> dict[str, BundleFile]:
    """Take away the one directory that `tar -c DIR` puts around everything."""
    tops = {name.partition("/")[0] for name in files}
    if "hamgr.yaml" in files or len(tops) != 1:
        return files
    top = f"{tops.pop()}/"
    if f"{top}hamgr.yaml" not in files:
        return files
    return {name.removeprefix(top): file for name, file in files.items()}


def _files_below_files(files: Mapping[str, BundleFile]) -> Iterator[Problem]:
    for name in files:
        parent = name.rpartition("/")[0]
        while parent:
            if parent in files:
                yield Problem(parent, 1, 1, "is both a file and a directory")
            parent = parent.rpartition("/")[0]


def _too_much(name: str, count: int) -> Problem:
    if count >= FILES_MAX:
        return Problem(_shown(name), 1, 1, f"is one file too many; a bundle may have {FILES_MAX}")
    return Problem(_shown(name), 1, 1, f"makes the bundle larger than {CONTENT_BYTES_MAX} bytes")


def _of_archive(message: str, hint: str = "") -> Problem:
    return Problem("archive", 1, 1, message, hint)


def _shown(name: str) -> str:
    """Make a hostile name safe to print."""
    text = name.removeprefix("./")
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text[:NAME_BYTES_MAX] or "archive"

"""A directory as one tar file, and back.

Packing judges nothing: links stay links and odd files stay odd, so that the server refuses them by name.
Unpacking trusts nothing: only plain files, below the directory that was asked for.
"""

import io
import tarfile
from pathlib import Path, PurePosixPath

from cli.exits import CliError, Exit

ARCHIVE_BYTES_MAX = 8 * 1024 * 1024
FILES_MAX = 10_000


def pack(directory: Path) -> bytes:
    """Return the directory as a tar file, without a `.git` at its top.

    Raises:
        CliError: It is no directory, a file cannot be read, or it is too large.
    """
    if not directory.is_dir():
        raise CliError(Exit.USAGE, f"{directory} is not a directory", hint="give the one with hamgr.yaml")
    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in _walk(directory):
                tar.add(path, arcname=path.relative_to(directory).as_posix(), recursive=False)
                if buffer.tell() > ARCHIVE_BYTES_MAX:
                    raise CliError(
                        Exit.USAGE,
                        f"{directory} has more than {ARCHIVE_BYTES_MAX // 1024**2} MiB",
                        hint=f"the last file was {path}; leave large files out",
                    )
    except OSError as error:
        raise CliError(Exit.FAILED, f"{error.filename or directory}: {error.strerror}") from error
    return buffer.getvalue()


def _walk(directory: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(directory.iterdir()):
        if path.name == ".git" and path.is_dir():
            continue
        found.append(path)
        if path.is_dir() and not path.is_symlink():
            found += sorted(path.rglob("*"))
        if len(found) > FILES_MAX:
            raise CliError(Exit.USAGE, f"{directory} has more than {FILES_MAX} files")
    return found


def unpack(data: bytes, directory: Path) -> int:
    """Write the archive's files below `directory`, which must be new or empty; return how many.

    Raises:
        CliError: The directory is in use, or the archive is not what a replica sends.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CliError(Exit.USAGE, f"{directory} is there already and not empty")
    count = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                name = PurePosixPath(entry.name)
                source = tar.extractfile(entry) if entry.isreg() else None
                if source is None or name.is_absolute() or ".." in name.parts:
                    raise CliError(Exit.FAILED, f"the archive has {entry.name!r}, which is not written")
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
                target.chmod(0o755 if entry.mode & 0o100 else 0o644)
                count += 1
    except (OSError, tarfile.TarError) as error:
        raise CliError(Exit.FAILED, f"{directory}: {error}") from error
    return count

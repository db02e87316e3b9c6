"""`file`: a file with this content, mode and owner is there, or there is none.

1. The content is compared by its SHA-256; what is equal is not written.
2. A file is replaced by renaming a complete, synced copy over it: a reader, or a power cut, finds the old
   file or the new one, never a part. A symbolic link at its place is replaced, not followed.
3. A directory at its place is an error; it is never removed.
4. Only root gives files away. On a practice node (HAMGR_ROOT) owner and group are then left as they are.
"""

import hashlib
from collections.abc import Iterator

from hamgr.bundles.schema import FileModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote, write_to
from hamgr.bundles.steps import file_preview
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope, absolute_path, literal, owner
from hamgr.bundles.yaml import Path


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    model = _model(step)
    for name in model.given("path", "content", "owner", "group"):
        yield ("file", name), getattr(model, name)


def files(step: StepModel) -> Iterator[FileUse]:
    model = _model(step)
    if model.template is not None:
        yield FileUse(("file", "template"), model.template, template=True)
    if model.source is not None:
        yield FileUse(("file", "source"), model.source, template=False)


def complaints(step: StepModel) -> Iterator[Complaint]:
    model = _model(step)
    yield from literal(("file", "path"), model.path, absolute_path)
    for name in model.given("owner", "group"):
        yield from literal(("file", name), getattr(model, name), owner)


def apply(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    target = _target(model, scope)
    if model.state == "absent":
        return PRELUDE + target + _ABSENT_APPLY
    data = _content(model, scope)
    attributes = _attributes(model, scope)
    return "".join(
        [
            PRELUDE,
            target,
            _wanted(data),
            attributes,
            _PRESENT_APPLY_1,
            write_to('"$new"', data),
            _PRESENT_APPLY_2,
        ]
    )


def verify(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    target = _target(model, scope)
    if model.state == "absent":
        return PRELUDE + target + _ABSENT_VERIFY
    data = _content(model, scope)
    return PRELUDE + target + _wanted(data) + _attributes(model, scope) + _PRESENT_VERIFY


def preview(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    target = _target(model, scope)
    if model.state == "absent":
        return PRELUDE + target + file_preview.ABSENT
    data = _content(model, scope)
    shown = scope.concealed(data, lambda other: _content(model, other))
    return PRELUDE + target + _attributes(model, scope) + file_preview.present(data, shown)


def _model(step: StepModel) -> FileModel:
    if step.file is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a file")
    return step.file


def _target(model: FileModel, scope: Scope) -> str:
    path = scope.text(("file", "path"), model.path, absolute_path)
    return f"path={quote(path)}\ntarget=$root$path\n"


def _wanted(data: bytes) -> str:
    return f"sum={hashlib.sha256(data).hexdigest()}\n"


def _content(model: FileModel, scope: Scope) -> bytes:
    if model.template is not None:
        return scope.file(("file", "template"), model.template, template=True)
    if model.source is not None:
        return scope.file(("file", "source"), model.source, template=False)
    return scope.text(("file", "content"), model.content or "").encode()


def _attributes(model: FileModel, scope: Scope) -> str:
    """Return shell that sets mode, owner and group, and what `stat` is to say about them."""
    mode = model.mode or "0644"
    if model.mode is None and model.source is not None and scope.files[model.source].executable:
        mode = "0755"
    user = scope.text(("file", "owner"), model.owner, owner) if model.owner else ""
    group = scope.text(("file", "group"), model.group, owner) if model.group else ""
    short = f"{int(mode, 8):o}"
    formats, wanted = ["%a"], [short]
    for name, letter in ((user, "u"), (group, "g")):
        if name:
            formats.append(f"%{letter}" if name.isdigit() else f"%{letter.upper()}")
            wanted.append(name)
    lines = [f"mode={mode}\nformat={quote(' '.join(formats))}\nwanted={quote(' '.join(wanted))}\nowner=\n"]
    if user or group:
        spec = f"{user}:{group}" if group else user
        lines.append(f"owner={quote(spec)} user={quote(user)} group={quote(group)} short={short}\n")
        lines.append(_OWNER)
    return "".join(lines)


_OWNER = """\
if [ "$(id -u)" != 0 ]; then
  [ -z "$user" ] || [ "$user" = "$(id -un)" ] || [ "$user" = "$(id -u)" ] || other=$user
  [ -z "$group" ] || [ "$group" = "$(id -gn)" ] || [ "$group" = "$(id -g)" ] || other=${other:-}:$group
  if [ -n "${other:-}" ]; then
    [ -n "$root" ] || fail "cannot give $path to $other: hamgr does not log in as root here"
    printf 'hamgr: practice node: %s is not given to %s\\n' "$path" "$other"
  fi
  owner='' format=%a wanted=$short
fi
"""

_PRESENT_APPLY_1 = """\
[ ! -d "$target" ] || fail "$path is a directory"
if [ -f "$target" ] && [ ! -L "$target" ]; then
  have=$(sha256sum <"$target") || fail "cannot read $path"
  if [ "${have%% *}" = "$sum" ]; then
    have=$(stat -c "$format" "$target") || fail "cannot look at $path"
    [ "$have" != "$wanted" ] || done_ unchanged
    [ -z "$owner" ] || chown "$owner" "$target" || fail "cannot give $path to $owner"
    chmod "$mode" "$target" || fail "cannot set the mode of $path"
    done_ changed
  fi
fi
folder=${target%/*}
[ -d "$folder" ] || mkdir -p "$folder" || fail "cannot make the directory of $path"
new=$folder/.${target##*/}.hamgr-new
[ ! -e "$new" ] && [ ! -L "$new" ] || rm -f "$new" || fail "cannot remove the left-over $new"
umask 077
set -C
"""

_PRESENT_APPLY_2 = """\
set +C
have=$(sha256sum <"$new")
[ "${have%% *}" = "$sum" ] || fail "what was written for $path is not what was sent; is the disk full?"
[ -z "$owner" ] || chown "$owner" "$new" || fail "cannot give $path to $owner"
chmod "$mode" "$new" || fail "cannot set the mode of $path"
sync "$new" || fail "cannot store $path on the disk"
mv -f "$new" "$target" || fail "cannot put $path in its place"
sync "$folder" || fail "cannot store the directory of $path on the disk"
done_ changed
"""

_PRESENT_VERIFY = """\
[ ! -L "$target" ] || fail "$path is a symbolic link"
[ -e "$target" ] || fail "$path is not there"
[ -f "$target" ] || fail "$path is not a file"
have=$(sha256sum <"$target") || fail "cannot read $path"
[ "${have%% *}" = "$sum" ] || fail "$path has other content"
have=$(stat -c "$format" "$target") || fail "cannot look at $path"
[ "$have" = "$wanted" ] || fail "$path has mode and owner $have, not $wanted"
done_ unchanged
"""

_ABSENT_APPLY = """\
[ -e "$target" ] || [ -L "$target" ] || done_ unchanged
[ -L "$target" ] || [ ! -d "$target" ] || fail "$path is a directory"
rm -f "$target" || fail "cannot remove $path"
sync "${target%/*}" || fail "cannot store the directory of $path on the disk"
done_ changed
"""

_ABSENT_VERIFY = """\
[ ! -e "$target" ] && [ ! -L "$target" ] || fail "$path is there"
done_ unchanged
"""

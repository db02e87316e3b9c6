"""Bundles: the configuration repository, from an uploaded archive to the script that a node runs.

The way of a bundle through the room:

`doors` has what the others call; behind it the rest is imported when it is needed.
`archive` reads the upload and packs it again so that equal content has equal bytes, hence one digest.
`yaml` reads text into plain values and remembers where each was written.
`schema` says what the files may contain; `shape` turns its complaints into positions and plain sentences.
`references` checks what no single file can know: names, files, templates, what roles need of each other.
`loading` runs all of these and answers a `LoadedBundle`, or `BundleInvalid` with every problem at once.
`render` compiles one step for one node into a complete script for /bin/sh; `steps` has one file for each
kind of step, `templates` renders, and `shell` is the only place where a value becomes shell code.
"""

from hamgr.bundles.bundle import PREVIEW_BYTES_MAX, BundleFile, Form, LoadedBundle
from hamgr.bundles.doors import compile_check, compile_preview, compile_step, load
from hamgr.bundles.problems import BundleInvalid, Problem, RenderError

__all__ = [
    "PREVIEW_BYTES_MAX",
    "BundleFile",
    "BundleInvalid",
    "Form",
    "LoadedBundle",
    "Problem",
    "RenderError",
    "compile_check",
    "compile_preview",
    "compile_step",
    "load",
]

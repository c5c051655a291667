"""Files that travel in the job package: modules that `import` finds, data files, and sources for tracebacks.

They become real files of the worker, so that whatever reads a module's own files works: `importlib.resources`,
`pkgutil.get_data`, ``open(Path(__file__).parent / ...)``, spawned processes.
"""

from __future__ import annotations

import importlib
import json
import linecache
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from ...protocol.archive import MODULES, SOURCES, Archive, ArchiveError

#: Members whose names begin so are files for the worker's current directory.
FILES = "files/"

#: Field of the manifest: the members that are to be executable.
EXECUTABLE = "executable"
#: Field of the manifest: files and folders beside the notebook that the job's code names.
BESIDE = "beside"
#: Where the modules lie, in the worker's directory.
MODULES_DIRECTORY = ".modules"

#: The modules' root in this process, with a separator at its end; empty if there is none.
_root = ""
#: The sums of the files that have been laid out, by their paths.
_laid: dict[str, str] = {}


class NoPlace(Exception):
    """The sandbox does not take a job's files: the agent's disk is full, or broken. No fault of the job."""


def install(archive: Archive, directory: str) -> None:
    """Lay out the files of `archive`, and make its modules and sources known to this process.

    Modules that travelled are found before installed ones of the same name. Of a second archive, only what is not there
    yet is laid out, and only modules that changed are imported anew.

    Parameters
    ----------
    archive : Archive
    directory : str
        The worker's own.

    Raises
    ------
    NoPlace
        When the files cannot be written.
    """
    global _root
    executable = frozenset(archive.manifest.get(EXECUTABLE, ()))
    made: set[str] = set()
    sums = {member: sums[1] for member, sums in archive.manifest.get("members", {}).items()}
    names: set[str] = set()
    for member, target in _targets(archive, directory):
        if _laid.get(target, "") == sums.get(member):
            continue
        if member.startswith(MODULES):
            names.add(PurePosixPath(member).parts[1].removesuffix(".py"))
        try:
            _write(target, archive.member(member), 0o755 if member in executable else 0o644, made)
        except OSError as error:
            name = member.partition("/")[2]
            raise NoPlace(
                f"{name} of the job cannot be written to the sandbox on {socket.gethostname()}: "
                f"{error.strerror or error}"
            ) from error
        _laid[target] = sums.get(member, "")
    root = os.path.join(os.path.abspath(directory), MODULES_DIRECTORY)
    if names:
        if not _root:
            _root = os.path.join(root, "")
            sys.path.insert(0, root)
            # For the processes that the user's code starts.
            others = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join([root, others] if others else [root])
        _forget(names)
    if SOURCES in archive:
        sources: Mapping[str, str] = json.loads(bytes(archive.member(SOURCES)))
        for filename, text in sources.items():
            remember_source(filename, text)


def shown(filename: str) -> str:
    """Return what tracebacks show of a file: a module that travelled, by its path beside the notebook."""
    return filename.removeprefix(_root) if _root else filename


def remember_source(filename: str, text: str) -> None:
    """Let tracebacks show the lines of `filename`, which is no file here."""
    # Without an mtime, checkcache() leaves the entry alone.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)


def _targets(archive: Archive, directory: str) -> Iterator[tuple[str, str]]:
    """Yield each member that becomes a file, with its path."""
    for member in archive:
        for prefix, place in ((MODULES, MODULES_DIRECTORY), (FILES, "")):
            if member.startswith(prefix):
                parts = PurePosixPath(member).parts[1:]
                if not parts or ".." in parts or "\0" in member:
                    raise ArchiveError(f"member {member!r} of the job package is no path below a directory")
                yield member, os.path.join(directory, place, *parts)


def _forget(names: set[str]) -> None:
    """Let the next import find what travelled, where this process has another module of that name."""
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]
    importlib.invalidate_caches()  # its view of the directory may be older than what was just laid there


def _write(path: str, data: memoryview, mode: int, made: set[str]) -> None:
    parent = os.path.dirname(path)
    if parent not in made:
        os.makedirs(parent, exist_ok=True)
        made.add(parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)

"""Data files: those that the user names for the workers' current directory, and those of a package."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..model.errors import SubmitError
from ..model.wording import type_of
from ..worker.process.result import FILE, SIGNATURE_FILE
from ..worker.process.shipped_modules import MODULES_DIRECTORY

#: What workers have in their current directory already.
_TAKEN = frozenset({"stdout", "stderr", "tmp", FILE, SIGNATURE_FILE, MODULES_DIRECTORY})
_JUNK = frozenset({"__pycache__", "node_modules"})
_JUNK_ENDS = (".pyc", ".pyo", ".egg-info", ".dist-info")


@dataclass(frozen=True)
class DataFile:
    """A file that travels.

    Parameters
    ----------
    name : str
        Its path on the worker, relative, with slashes.
    path : Path
        Where it lies here.
    size : int
        Bytes.
    is_executable : bool
    """

    name: str
    path: Path
    size: int
    is_executable: bool = False

    def read(self) -> bytes:
        """Return its content.

        Raises
        ------
        SubmitError
            When it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise SubmitError(f"{self.path} cannot be read: {error.strerror or error}") from None


def data_files(
    patterns: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    directories: Sequence[Path],
    limit: float | None = None,
) -> tuple[DataFile, ...]:
    """Return the files that `patterns` name, sorted by their names.

    Parameters
    ----------
    patterns : sequence of path, or path
        Paths of files, folders (with all that is in them, hidden and derived files left out) and globs (``**``
        for any depth), relative to one of `directories`. Workers find a file under the same relative path.
    directories : sequence of Path
        Where to look; the first that has what is named counts.
    limit : float, optional
        Bytes that the files may have together.

    Raises
    ------
    SubmitError
        In one line, for everything that cannot be taken along.
    """
    if isinstance(patterns, str | os.PathLike):
        patterns = [patterns]
    found: dict[str, DataFile] = {}
    wrong: list[str] = []
    for pattern in patterns:
        if not isinstance(pattern, str | os.PathLike):
            raise SubmitError(f"files holds {type_of(pattern)}; give paths (--file)")
        text = os.fspath(pattern)
        if not isinstance(text, str):
            text = os.fsdecode(text)
        files, trouble = _named(text, directories)
        if trouble:
            wrong.append(trouble)
        for each in files:
            found.setdefault(each.name, each)
    wrong += _clashes(found)
    if wrong:
        raise SubmitError(f"cannot take along {'; '.join(wrong)}")
    total = sum(each.size for each in found.values())
    if limit is not None and total > limit:
        raise SubmitError(
            f"the files have {human(total)} ({_largest(found)}), more than the {human(limit)} of memory of a "
            "worker, which holds them while it starts: ask for more (--ram), or read them on the workers"
        )
    return tuple(found[name] for name in sorted(found))


def walk(directory: Path) -> Iterator[DataFile]:
    """Yield the files under a directory, by their paths in it; no hidden and no derived ones."""
    pending = [("", directory)]
    seen = set()
    while pending:
        prefix, place = pending.pop()
        real = os.path.realpath(place)
        if real in seen:  # links in a circle
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries):  # a virtual environment
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _JUNK or entry.name.endswith(_JUNK_ENDS):
                continue
            try:
                if entry.is_dir():
                    pending.append((f"{prefix}{entry.name}/", Path(entry.path)))
                elif entry.is_file():
                    yield _data_file(prefix + entry.name, Path(entry.path), entry.stat())
            except OSError:  # a link into nothing
                continue


def named_here(texts: Iterable[str], directories: Sequence[Path]) -> tuple[str, ...]:
    """Return those of `texts` that are paths of files or folders in `directories`, or lie in one; sorted."""
    listings = [(directory, _names(directory)) for directory in directories]
    found = set()
    for text in texts:
        for directory, names in listings:
            path = text
            if os.path.isabs(path):
                path = os.path.relpath(path, directory)
            path = os.path.normpath(path)
            if path.partition("/")[0] not in names:
                continue
            # Of a path that is put together later, the part that exists.
            while path and not os.path.exists(directory / path):
                path = os.path.dirname(path)
            if path:
                found.add(path)
    return tuple(sorted(found))


def human(size: float) -> str:
    """Return bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _names(directory: Path) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:
        return frozenset()


def _named(text: str, directories: Sequence[Path]) -> tuple[list[DataFile], str]:
    """Return the files that a pattern names, or why there are none."""
    if not text or "\0" in text:
        return [], f"{text!r}: that is no path"
    if os.path.isabs(text):
        inside = next((each for each in directories if Path(text).is_relative_to(each)), None)
        if inside is not None:
            return [], (
                f"{text}: give the path relative to the notebook, {os.path.relpath(text, inside)}, as workers "
                "find it in their current directory"
            )
        return (
            [],
            f"{text}: an absolute path; put the file beside the notebook, or read it where agents have it",
        )
    path = os.path.normpath(text)
    if path == ".." or path.startswith("../"):
        return (
            [],
            f"{text}: it lies outside of the notebook's folder; put it, or a link to it, beside the notebook",
        )
    trouble = ""
    for directory in directories:
        here = directory / path
        if os.path.lexists(here):
            matches = [path]
        elif glob.has_magic(path):
            matches = sorted(glob.glob(path, root_dir=directory, recursive=True))
        else:
            continue
        files: list[DataFile] = []
        for match in matches:
            more, trouble = _files_at(match, directory)
            if trouble:
                return [], trouble
            files += more
        if files:
            return files, ""
        trouble = trouble or (f"{text}: there is no file in it" if matches else "")
    places = " or ".join(str(directory) for directory in directories)
    return [], trouble or f"{text}: there is no such file in {places}"


def _files_at(path: str, directory: Path) -> tuple[list[DataFile], str]:
    """Return the file at `path`, or those in the folder; or why not."""
    here = directory / path
    try:
        status = here.stat()
    except OSError as error:
        return [], f"{path}: {error.strerror}"
    if stat.S_ISDIR(status.st_mode):
        prefix = "" if path == "." else f"{path}/"
        files = [
            DataFile(prefix + each.name, each.path, each.size, each.is_executable) for each in walk(here)
        ]
    elif stat.S_ISREG(status.st_mode):
        files = [_data_file(path, here, status)]
    else:
        return [], f"{path}: it is no regular file"
    for each in files:
        if not os.access(each.path, os.R_OK):
            return [], f"{each.name}: permission denied"
    return files, ""


def _clashes(found: Mapping[str, DataFile]) -> Iterator[str]:
    """Yield what is wrong with names: ours, and a file where another needs a folder."""
    for name in sorted(found):
        top, *_ = PurePosixPath(name).parts
        if top in _TAKEN:
            yield f"{name}: workers have a {top} of their own there; give it another name"
        for parent in PurePosixPath(name).parents:
            if str(parent) in found:
                yield f"{name}: {parent} is a file, from {found[str(parent)].path}"


def _data_file(name: str, path: Path, status: os.stat_result) -> DataFile:
    return DataFile(name, path, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _largest(found: Mapping[str, DataFile]) -> str:
    ordered = sorted(found.values(), key=lambda each: (-each.size, each.name))
    return ", ".join(f"{each.name} {human(each.size)}" for each in ordered[:3])

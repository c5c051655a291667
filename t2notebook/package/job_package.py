"""Builds a job package: the worker function and its config, pickled, with the modules and sources it needs."""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from .._version import __version__
from ..model.errors import PackageError, SubmitError
from ..model.wording import type_of
from ..protocol import archive
from ..protocol.archive import SOURCES
from ..worker.process import call
from ..worker.process.missing_names import IS_CELL, NAMES
from ..worker.process.shipped_modules import BESIDE, EXECUTABLE, FILES
from . import distributions, pickling, stale_modules
from .buffers import Sink
from .cell import ENV, CellFunction, stays
from .files import DataFile, human, named_here
from .local_modules import local_modules

SUFFIX = ".t2"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_SHOWN = 10
_MAX_NAMES = 10_000


@dataclass(frozen=True)
class BuiltPackage:
    """A job package on disk.

    Parameters
    ----------
    path : Path
        ``<digest>.t2``.
    digest : str
        Hex sha256 of the manifest.
    size : int
        Bytes.
    python : str
        ``major.minor`` of this Python.
    contents : mapping of str to int
        What is largest in it: variable, or module beside the notebook, to bytes; in steps of 64 KiB, largest
        first.
    files : mapping of str to int
        Data files that it holds for the workers' current directory, to bytes.
    notes : tuple of str
        What the user should know of it, one line each.
    modules : mapping of str to str
        The modules that travel, to their files here.
    """

    path: Path
    digest: str
    size: int
    python: str
    contents: Mapping[str, int]
    files: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()


def build(
    worker: Callable[..., Any],
    config: Mapping[str, Any],
    *,
    directory: Path,
    local_dirs: Sequence[Path],
    name: str,
    max_size: int | None = None,
    files: Sequence[DataFile] = (),
    setup: Callable[..., Any] | None = None,
    modules: Iterable[str] = (),
    sources: Mapping[str, str] | None = None,
) -> BuiltPackage:
    """Write the package of a job.

    Parameters
    ----------
    worker : callable
        ``worker(env)`` or ``worker()``.
    config : mapping
        What workers find as ``env.config``.
    directory : Path
        Where the package is to lie. One of the same digest that is there already is left alone.
    local_dirs : sequence of Path
        Directories whose modules travel along; usually the notebook's own.
    name : str
        The job's name, for messages.
    max_size : int, optional
        Bytes that the package may have at most.
    files : sequence of DataFile, optional
        For the workers' current directory.
    setup : callable, optional
        ``setup(env)`` or ``setup()``: runs first in every worker, before anything of the job is unpickled.
    modules : iterable of str, optional
        More modules beside the notebook that are to travel.
    sources : mapping of str to str, optional
        More texts for tracebacks, by the file names in code objects.

    Raises
    ------
    SubmitError
        When `worker` cannot be called as workers call it.
    PackageError
        When something in it cannot be pickled, or it is too large; the message names the variable.
    """
    check_worker(worker)
    sink, account = pickling.pickle_job(worker, config)
    first = _pickle_setup(setup, config) if setup is not None else None
    if first is not None:
        account = account.joined(first[1])
    account.sources.update(sources or {})
    mentions = account.mentions
    found = local_modules(account.modules | {*modules}, mentions.imports, local_dirs, mentions.names)
    members: list[tuple[str, archive.Bytes]] = [(archive.PICKLE, sink.pickled)]
    members += [(f"{archive.BUFFERS}{at:06d}", each.raw()) for at, each in enumerate(sink.buffers)]
    if first is not None:
        members.append((archive.SETUP_PICKLE, first[0].pickled))
        members += [
            (f"{archive.SETUP_BUFFERS}{at:06d}", each.raw()) for at, each in enumerate(first[0].buffers)
        ]
    members += found.members.items()
    members += [(FILES + each.name, each.read()) for each in files]
    if account.sources:
        members.append((SOURCES, json.dumps(account.sources, sort_keys=True).encode()))
    contents = _largest({**account.sizes, **found.sizes})
    total = sum(len(memoryview(data)) for _, data in members)
    if max_size is not None and total > max_size:
        raise PackageError(_too_large(name, total, max_size, contents))
    used = {*account.modules, *(each.module for each in mentions.imports)} - found.paths.keys()
    facts = {
        "kind": "job",
        "python": _PYTHON,
        "packages": distributions.versions(used),
        "t2notebook": __version__,
        **_facts_of_files(files, mentions.texts | found.texts, local_dirs),
        **_facts_of_names(worker, account.sizes),
    }
    path, digest, size = _store(directory, members, facts)
    return BuiltPackage(
        path,
        digest,
        size,
        _PYTHON,
        contents,
        {each.name: each.size for each in files},
        (
            *getattr(worker, "notes", ()),
            *found.notes,
            *stale_modules.notes(found.paths, found.sources, mentions.assigned),
        ),
        found.paths,
        frozenset(account.sources),
    )


def check_setup(setup: Callable[..., Any]) -> None:
    """Raise a `SubmitError` unless workers can call `setup` and it can travel.

    Raises
    ------
    SubmitError
    """
    try:
        check_worker(setup)
    except SubmitError as error:
        raise SubmitError(str(error).replace("a worker function", "a setup")) from None
    _pickle_setup(setup, {})


def _pickle_setup(setup: Callable[..., Any], config: Mapping[str, Any]) -> tuple[Sink, pickling.Account]:
    try:
        return pickling.pickle_job(setup, config)
    except PackageError as error:
        raise PackageError(
            f"setup: {error}".replace("worker function", "setup function")
        ) from error.__cause__


def _facts_of_files(files: Sequence[DataFile], texts: set[str], local_dirs: Sequence[Path]) -> dict[str, Any]:
    """Return what the manifest says of files: which are executable, and which the code names but lacks."""
    executable = [FILES + each.name for each in files if each.is_executable]
    beside = named_here(texts, local_dirs) if texts else ()
    return {
        **({EXECUTABLE: executable} if executable else {}),
        **({BESIDE: list(beside)} if beside else {}),
    }


def _facts_of_names(worker: Any, sent: Mapping[str, int]) -> dict[str, Any]:
    """Return what the manifest says of the notebook's names: those that do not travel, for errors about them."""
    function = worker.function if isinstance(worker, CellFunction) else inspect.unwrap(worker)
    namespace = getattr(function, "__globals__", {})
    if not isinstance(worker, CellFunction) and namespace.get("__name__") != "__main__":
        return {}
    left = [
        name
        for name in list(namespace)
        if name not in sent and not name.startswith("_") and name != ENV and not stays(name, namespace)
    ]
    return {NAMES: sorted(left)[:_MAX_NAMES], IS_CELL: isinstance(worker, CellFunction)}


def check_worker(worker: Callable[..., Any]) -> None:
    """Refuse a `worker` that workers can call neither with the environment nor with nothing.

    Raises
    ------
    SubmitError
    """
    if not callable(worker):
        raise SubmitError(f"worker is {type_of(worker)}, not callable; give a function that takes env")
    try:
        signature = inspect.signature(worker)
    except (TypeError, ValueError):
        return  # a builtin that does not tell
    try:
        call.arguments(signature, worker, None)
        return
    except TypeError:
        pass
    name = getattr(worker, "__name__", None) or type(worker).__name__
    raise SubmitError(
        f"a worker function is called with env, or with nothing; {name}{signature} takes neither"
    )


def _store(
    directory: Path, members: Sequence[tuple[str, archive.Bytes]], facts: Mapping[str, Any]
) -> tuple[Path, str, int]:
    """Write an archive under its digest; return path, digest and size."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=directory)  # 0600
        with os.fdopen(descriptor, "wb") as file:
            digest = archive.write(cast(BinaryIO, file), members, facts)
            size = file.tell()
        path = directory / f"{digest}{SUFFIX}"
        if not (path.exists() and path.stat().st_size == size):
            os.replace(temporary, path)
            temporary = ""
    except OSError as error:
        raise PackageError(
            f"the job package cannot be written to {directory}: {error.strerror or error}"
        ) from error
    finally:
        if temporary:
            os.unlink(temporary)
    return path, digest, size


def _largest(sizes: Mapping[str, int]) -> dict[str, int]:
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:_SHOWN])


def _too_large(name: str, size: int, limit: int, contents: Mapping[str, int]) -> str:
    largest = ", ".join(f"{key} {human(value)}" for key, value in list(contents.items())[:3] if value)
    return (
        f"the package of job {name} would have {human(size)}, more than the {human(limit)} that are allowed"
        + (f"; largest: {largest}" if largest else "")
        + ". Read large data on the workers, or leave it out"
    )

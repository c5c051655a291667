"""Functions and arguments of a pool's calls on their way to workers: pickled as a job's function is."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...model.errors import PackageError, SubmitError
from ...protocol import calls
from ...worker.process.pool import Mapped
from .. import notebook_directories
from ..packing import tell
from ..submission import spool_directory

#: How many packages are kept for functions that are called again, and their bytes.
_KEPT, _KEPT_BYTES = 64, 128 << 20


@dataclass(frozen=True)
class Needs:
    """Needs of arguments on a worker, besides themselves.

    Parameters
    ----------
    modules : set of str
        Modules beside the notebook.
    sources : set of (str, str)
        File names of cells whose functions and classes are among them, and their texts, for tracebacks.
    """

    modules: frozenset[str] = frozenset()
    sources: frozenset[tuple[str, str]] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(self.modules | other.modules, self.sources | other.sources)


@dataclass(frozen=True, eq=False)
class Function:
    """A function as workers are given it.

    Parameters
    ----------
    name : str
    package : bytes
        Its job package: the function, and the modules beside the notebook that it uses.
    modules : mapping of str to str
        Those modules, and their files here.
    times : tuple of int
        When these were changed last.
    sources : set of str
        File names of the cells whose texts it has.
    needs : Needs
        What it was asked to have for arguments.
    """

    name: str
    package: bytes
    modules: dict[str, str]
    times: tuple[int, ...]
    sources: frozenset[str] = frozenset()
    needs: Needs = field(default_factory=Needs)

    def has(self, needs: Needs) -> bool:
        """Whether a worker that has this has what arguments need, as far as that can be had."""
        modules = self.modules.keys() | self.needs.modules
        return needs.modules <= modules and all(name in self.sources for name, _ in needs.sources)

    @property
    def is_current(self) -> bool:
        """Whether its modules are what they were."""
        return self.times == _changed(self.modules)


_packages: OrderedDict[tuple[str, Needs], Function] = OrderedDict()


def function_of(fn: Callable[..., Any], needs: Needs | None = None) -> Function:
    """Return a function as it is now, with the notebook's variables that it uses.

    Parameters
    ----------
    fn : callable
    needs : Needs, optional
        Of its arguments.

    Raises
    ------
    SubmitError
        When it cannot be called.
    PackageError
        When it cannot travel; the message names the variable.
    """
    from ...package import pickling

    if not callable(fn):
        raise SubmitError(f"cannot call a {type(fn).__name__}: give a function")
    sink, _ = pickling.pickle_job(Mapped(fn), {})
    state = hashlib.sha256(sink.pickled)
    for buffer in sink.buffers:
        state.update(buffer.raw())
    needs = needs or Needs()
    key = state.hexdigest(), needs
    known = _packages.get(key)
    if known is None or not known.is_current:
        known = _packages[key] = _build(fn, needs)
    _packages.move_to_end(key)
    while len(_packages) > 1 and (
        len(_packages) > _KEPT or sum(len(each.package) for each in _packages.values()) > _KEPT_BYTES
    ):
        _packages.popitem(last=False)
    return known


def _build(fn: Callable[..., Any], needs: Needs) -> Function:
    from ...package.job_package import build

    name = getattr(fn, "__name__", "") or type(fn).__name__
    spool = spool_directory()
    try:
        package = build(
            Mapped(fn),
            {},
            directory=spool,
            local_dirs=notebook_directories.beside(),
            name=name,
            modules=needs.modules,
            sources=dict(needs.sources),
        )
        tell(package)
        data = package.path.read_bytes()
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    shipped = dict(package.modules)
    return Function(name, data, shipped, _changed(shipped), package.sources, needs)


def _changed(modules: dict[str, str]) -> tuple[int, ...]:
    times = []
    for path in modules.values():
        try:
            times.append(os.stat(path).st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, index: int | None = None
) -> tuple[calls.Pieces, Needs]:
    """Return the arguments of a call, as they are now, and what they need besides.

    Parameters
    ----------
    args, kwargs
    name : str
        The function's, for messages.
    index : int, optional
        The item's place in a `map`, for messages.

    Raises
    ------
    PackageError
        When they cannot be pickled.
    """
    sources: dict[str, str] = {}

    def by_value(value: Any, keep: Callable[[pickle.PickleBuffer], Any]) -> bytes:
        data, found = _by_value(value, keep)
        sources.update(found)
        return data

    try:
        pieces = calls.pack((args, kwargs), by_value)
    except PackageError:
        raise
    except Exception as error:
        raise PackageError(_why_not(args, kwargs, name, index, error)) from error
    # They are sent later, and may be changed by then.
    kept = [bytes(piece) for piece in pieces]
    pickled = kept[0] if len(kept) == 1 else kept[1]
    modules = frozenset(module for module, text in _beside() if text in pickled)
    return kept, Needs(modules, frozenset(sources.items()))


def _why_not(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, index: int | None, error: Exception
) -> str:
    """Return the message about arguments that cannot be pickled."""
    from ...worker.process.unpicklable import reason

    what = f"the arguments of {name}" if index is None else f"item {index} of {name}"
    if index is not None and len(args) == 1 and not kwargs:
        return f"{what} cannot be pickled: {reason(args[0], error)}"
    given = {**{f"argument {at}": each for at, each in enumerate(args)}, **kwargs}
    for place, each in given.items():
        try:
            calls.pack(each, lambda value, keep: _by_value(value, keep)[0])
        except Exception as trouble:
            told = reason(each, trouble)
            told = f"{place} is{told[5:]}" if told.startswith("it is") else f"{place}: {told}"
            return f"{what} cannot be pickled: {told}"
    return f"{what} cannot be pickled: {error}"


_known_beside: tuple[int, tuple[tuple[str, bytes], ...]] = (0, ())


def _beside() -> tuple[tuple[str, bytes], ...]:
    """Return the modules of this process that no installation brought, and their names as pickles have them."""
    global _known_beside
    if _known_beside[0] != len(sys.modules):
        from ...package.local_modules import is_installed

        found = []
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if (
                name != "__main__"
                and isinstance(path, str)
                and path.endswith(".py")
                and not is_installed(path)
            ):
                found.append((name, name.encode()))
        _known_beside = len(sys.modules), tuple(found)
    return _known_beside[1]


def _by_value(value: Any, keep: Callable[[pickle.PickleBuffer], Any]) -> tuple[bytes, dict[str, str]]:
    """Pickle what holds things of the notebook, as a job's config is; return the texts of their cells as well."""
    from ...package.pickling import pickle_arguments

    sink, account = pickle_arguments(value)
    for buffer in sink.buffers:
        keep(buffer)
    return sink.pickled, account.sources

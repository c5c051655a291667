"""Modules that lie beside the notebook: found without running anything, shipped as source.

Only what the job can reach is shipped: modules that its pickle refers to or its code imports, and what those
import in turn.
"""

from __future__ import annotations

import ast
import functools
import os
import pkgutil
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from ..model.errors import PackageError
from ..worker.modules import MODULES

_OWN = __name__.partition(".")[0]
_INSTALLATIONS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Import:
    """An absolute import statement in code that travels by value: ``from module import names``."""

    module: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """A module that something imports; one in a ``try`` may be absent."""

    name: str
    optional: bool = False


@functools.cache
def is_installed(filename: str) -> bool:
    """Whether a file belongs to a Python installation or to t2notebook, and so is no affair of the notebook's."""
    path = os.path.realpath(filename)
    if not _INSTALLATIONS.isdisjoint(path.split(os.sep)):
        return True
    return any(path.startswith(place) for place in _places())


@functools.cache
def _places() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found.append(str(Path(__file__).parents[1]))
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return tuple(os.path.realpath(place) + os.sep for place in found)


def local_modules(
    modules: Iterable[str], imports: Iterable[Import], local_dirs: Sequence[Path]
) -> dict[str, bytes]:
    """Return the sources to ship.

    Parameters
    ----------
    modules : iterable of str
        Names of modules that the pickle refers to.
    imports : iterable of Import
        Import statements in code that travels by value.
    local_dirs : sequence of Path
        Directories whose modules count as the notebook's own.

    Returns
    -------
    dict of str to bytes
        Archive member (``modules/NAME.py``, ``modules/NAME/__init__.py``) to source, sorted.

    Raises
    ------
    PackageError
        For a compiled module, which only an installation can bring to an agent.
    """
    finder = _Finder(local_dirs)
    pending = [_Wanted(name) for name in modules]
    for each in imports:
        pending += [_Wanted(each.module), *(_Wanted(f"{each.module}.{name}") for name in each.names)]
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    while pending:
        wanted = pending.pop()
        if wanted.name in seen:
            continue
        spec = finder.find(wanted.name)
        if spec is None:
            continue
        if parent := wanted.name.rpartition(".")[0]:
            pending.append(_Wanted(parent, wanted.optional))
        if spec.origin is None or not spec.has_location:
            seen.add(wanted.name)
            continue  # a namespace package: the worker makes one of its own
        if not spec.origin.endswith(".py"):
            if wanted.optional:
                continue
            raise PackageError(_compiled(wanted.name, spec.origin))
        seen.add(wanted.name)
        is_package = spec.submodule_search_locations is not None
        try:
            source = Path(spec.origin).read_bytes()
        except OSError as error:
            raise PackageError(f"module {wanted.name} beside the notebook cannot be read: {error}") from None
        found[f"{MODULES}{wanted.name}{'/__init__.py' if is_package else '.py'}"] = source
        pending += _imported(source, wanted.name if is_package else parent)
    return dict(sorted(found.items()))


def _compiled(name: str, origin: str) -> str:
    return (
        f"module {name} beside the notebook is compiled ({os.path.basename(origin)}) and does not travel to workers: "
        "install it on the agents"
    )


class _Finder:
    """Finds modules under some directories as the notebook's import does, but runs none of them."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = [os.path.realpath(directory) for directory in directories]
        self._specs: dict[str, ModuleSpec | None] = {}
        self._locations: dict[str, list[str]] = {}

    def find(self, name: str) -> ModuleSpec | None:
        """Return the spec of a local module, None for any other name."""
        if name not in self._specs:
            parent, _, last = name.rpartition(".")
            if parent:
                self.find(parent)
                places = self._locations.get(parent, [])
                spec = self._local(_find_inside(name, places), name, places)
            elif last in (_OWN, "__main__", "") or last in sys.builtin_module_names:
                spec = None
            elif name in sys.modules:
                loaded = getattr(sys.modules[name], "__spec__", None)
                spec = self._local(loaded, name, sys.path) if isinstance(loaded, ModuleSpec) else None
            else:
                spec = self._local(PathFinder.find_spec(name), name, sys.path) or self._local(
                    PathFinder.find_spec(name, self._directories), name, self._directories
                )
            self._specs[name] = spec
        return self._specs[name]

    def _local(self, spec: ModuleSpec | None, name: str, places: Sequence[str]) -> ModuleSpec | None:
        """Return `spec` if it is of a local module or package, and remember where the package's modules lie."""
        if spec is None or spec.origin in ("built-in", "frozen"):
            return None
        if spec.origin is not None and spec.has_location:
            if self._is_here(spec.origin):
                self._locations[name] = list(spec.submodule_search_locations or ())
                return spec
            return None
        # Asking a namespace package for its places would need its parents imported.
        inner = [os.path.join(place, name.rpartition(".")[2]) for place in places]
        found = [place for place in inner if os.path.isdir(place) and self._is_here(place)]
        self._locations[name] = found
        return spec if found else None

    def _is_here(self, filename: str) -> bool:
        path = os.path.realpath(filename)
        return any(
            path.startswith(directory.rstrip(os.sep) + os.sep) for directory in self._directories
        ) and not is_installed(path)


def _find_inside(name: str, places: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of a submodule; `PathFinder` would want its parents imported."""
    namespace = None
    for place in places:
        finder = pkgutil.get_importer(place)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        namespace = namespace or spec
    return namespace


def _imported(source: bytes, package: str) -> Iterator[_Wanted]:
    """Yield what a module's source imports, absolute; `package` is the one that its relative imports start from."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # the worker says so, if it ever imports it
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, optional = pending.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _Wanted(alias.name, optional)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield _Wanted(module, optional)
            for alias in node.names:
                yield _Wanted(f"{module}.{alias.name}", optional)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in {"import_module", "__import__"} and isinstance(name, str):
                level = len(name) - len(name.lstrip("."))
                base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                yield _Wanted(".".join([*base, name.lstrip(".")]), optional)
        guarded = isinstance(node, ast.Try) and bool(node.handlers)
        body = node.body if isinstance(node, ast.Try) else []
        for child in ast.iter_child_nodes(node):
            pending.append((child, optional or (guarded and child in body)))

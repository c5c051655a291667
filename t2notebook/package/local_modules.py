"""Modules of the notebook's own: found without running anything, shipped as files.

Only what the job can reach is shipped: modules that its pickle refers to or its code imports, and what those
import in turn; of a package, all of its files. A module is the notebook's own if it lies beside the notebook, or
anywhere else where no installation put it (``sys.path.append("../src")``, an editable install).
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import pkgutil
import site
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from ..model.errors import PackageError
from ..protocol.archive import MODULES
from .files import DataFile, human, walk
from .source_scan import Wanted, scan

_OWN = __name__.partition(".")[0]
_INSTALLATIONS = frozenset({"site-packages", "dist-packages"})
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)
#: Bytes that one data file of a package may have, and all of a package together.
DATA_FILE = 8 * 1024 * 1024
DATA_FILES = 32 * 1024 * 1024
_SHOWN = 3


@dataclass(frozen=True)
class Import:
    """An absolute import in code that travels by value: ``from module import names``.

    One that is `optional` may be absent.
    """

    module: str
    names: tuple[str, ...] = ()
    optional: bool = False


@dataclass
class LocalModules:
    """Modules, and their packages' data, that are shipped.

    Parameters
    ----------
    members : dict of str to bytes
        Archive member (``modules/NAME.py``, ``modules/NAME/__init__.py``, ``modules/NAME/data.csv``) to content,
        sorted.
    paths : dict of str to str
        Module to its file here: those that the job reaches.
    texts : set of str
        Short string constants of those modules.
    notes : list of str
        Notes for the user, one line each.
    """

    members: dict[str, bytes] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def sources(self) -> Mapping[str, bytes]:
        """The text of each of `paths`."""
        return {
            name: content
            for member, content in self.members.items()
            if member.endswith(".py") and (name := module_name(member)) in self.paths
        }

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each module (``a.b``) and of each package's data file (``a/data.csv``)."""
        return {module_name(member): len(content) for member, content in self.members.items()}


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
    modules: Iterable[str],
    imports: Iterable[Import],
    local_dirs: Sequence[Path],
    names: AbstractSet[str] = frozenset(),
) -> LocalModules:
    """Return the modules to ship.

    Parameters
    ----------
    modules : iterable of str
        Names of modules that the pickle refers to.
    imports : iterable of Import
        Import statements in code that travels by value.
    local_dirs : sequence of Path
        The directories beside the notebook; their modules are found though they are not on `sys.path`.
    names : set of str
        Texts that a module may import by, if the code that travels by value does such a thing.

    Raises
    ------
    PackageError
        For a compiled module beside the notebook, which only an installation can bring to an agent.
    """
    finder = _Finder(local_dirs)
    pending = [Wanted(name) for name in modules]
    pending += [Wanted(name, optional=True) for name in names]
    for each in imports:
        pending.append(Wanted(each.module, each.optional))
        pending += [Wanted(f"{each.module}.{name}", each.optional) for name in each.names]
    found = LocalModules()
    seen: set[str] = set()
    dynamic: list[str] = []
    while pending or dynamic:
        if not pending:
            # By now their packages' files are there.
            pending += finder.siblings(dynamic.pop(), found)
            continue
        wanted = pending.pop()
        if wanted.name in seen:
            continue
        spec = finder.find(wanted.name)
        if spec is None:
            continue
        if parent := wanted.name.rpartition(".")[0]:
            pending.append(Wanted(parent, wanted.optional))
        if spec.origin is None or not spec.has_location:
            seen.add(wanted.name)
            continue  # a namespace package: a directory on the worker, too
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
        path = wanted.name.replace(".", "/")
        found.members[f"{MODULES}{path}{'/__init__.py' if is_package else '.py'}"] = source
        found.paths[wanted.name] = spec.origin
        scanned = scan(source, wanted.name if is_package else parent)
        found.texts |= scanned.texts
        pending += scanned.imports
        if scanned.is_dynamic:
            pending += [Wanted(text, optional=True) for text in scanned.texts]
            dynamic.append(wanted.name)
        if is_package and finder.is_top(wanted.name):
            _take_package(wanted.name, spec, found)
    found.members = dict(sorted(found.members.items()))
    return found


def module_name(member: str) -> str:
    """Return what a member of the archive is called in accounts: ``a.b`` for a module, the path of a data file."""
    path = member.removeprefix(MODULES)
    if not path.endswith(".py"):
        return path
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _take_package(name: str, spec: ModuleSpec, found: LocalModules) -> None:
    """Add all the files of a package, and say which are too large."""
    total = 0
    left: list[DataFile] = []
    prefix = f"{name.replace('.', '/')}/"
    for place in spec.submodule_search_locations or ():
        for file in walk(Path(place)):
            member = f"{MODULES}{prefix}{file.name}"
            if member in found.members or file.name.endswith(_COMPILED):
                continue
            if not file.name.endswith(".py"):
                if file.size > DATA_FILE or total + file.size > DATA_FILES:
                    left.append(file)
                    continue
                total += file.size
            try:
                found.members[member] = file.path.read_bytes()
            except OSError:
                left.append(file)
    if left:
        left.sort(key=lambda file: (-file.size, file.name))
        named = ", ".join(f"{file.name} {human(file.size)}" for file in left[:_SHOWN])
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        found.notes.append(
            f"package {name} travels without {named}{more}: of a file up to {human(DATA_FILE)} travel with a "
            f"package, {human(DATA_FILES)} in all; --file lays larger ones in the workers' current directory"
        )


def _compiled(name: str, origin: str) -> str:
    return (
        f"module {name} beside the notebook is compiled ({os.path.basename(origin)}) and does not travel to workers: "
        "install it on the agents"
    )


class _Finder:
    """Finds the notebook's own modules as its import does, but runs none of them."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = [os.path.realpath(directory) for directory in directories]
        self._specs: dict[str, ModuleSpec | None] = {}
        self._locations: dict[str, list[str]] = {}
        self._tops: set[str] = set()

    def find(self, name: str) -> ModuleSpec | None:
        """Return the spec of a local module, None for any other name."""
        if name not in self._specs:
            parent, _, last = name.rpartition(".")
            if not last.isidentifier():
                spec = None
            elif parent:
                self.find(parent)
                places = self._locations.get(parent, [])
                spec = self._local(_find_inside(name, places), name, places)
            elif last in (_OWN, "__main__") or last in sys.builtin_module_names:
                spec = None
            elif name in sys.modules:
                loaded = getattr(sys.modules[name], "__spec__", None)
                spec = self._local(loaded, name, sys.path) if isinstance(loaded, ModuleSpec) else None
            elif (importable := _find_importable(name)) is not None:
                spec = self._local(importable, name, sys.path)
            else:
                spec = self._local(PathFinder.find_spec(name, self._directories), name, self._directories)
            self._specs[name] = spec
        return self._specs[name]

    def is_top(self, name: str) -> bool:
        """Whether a regular package lies in no other."""
        return name in self._tops

    def siblings(self, name: str, found: LocalModules) -> list[Wanted]:
        """Return every module of the package that a module lies in, as far as its files travel."""
        top = next((each for each in self._tops if f"{name}.".startswith(f"{each}.")), None)
        if top is None:
            return []
        prefix = f"{MODULES}{top.replace('.', '/')}/"
        return [
            Wanted(module_name(member), optional=True)
            for member in found.members
            if member.startswith(prefix) and member.endswith(".py")
        ]

    def _local(self, spec: ModuleSpec | None, name: str, places: Sequence[str]) -> ModuleSpec | None:
        """Return `spec` if it is of a local module or package, and remember where the package's modules lie."""
        if spec is None or spec.origin in ("built-in", "frozen"):
            return None
        if spec.origin is not None and spec.has_location:
            if not self._is_own(spec, name):
                return None
            if spec.submodule_search_locations is not None and not self._is_in_package(name):
                self._tops.add(name)
            self._locations[name] = list(spec.submodule_search_locations or ())
            return spec
        # Asking a namespace package for its places would need its parents imported.
        inner = [os.path.join(place or os.curdir, name.rpartition(".")[2]) for place in places]
        found = [place for place in inner if os.path.isdir(place) and not is_installed(place)]
        self._locations[name] = found
        return spec if found else None

    def _is_in_package(self, name: str) -> bool:
        return any(name.startswith(f"{top}.") for top in self._tops)

    def _is_own(self, spec: ModuleSpec, name: str) -> bool:
        assert spec.origin is not None
        path = os.path.realpath(spec.origin)
        if is_installed(path) or not os.path.isfile(path):  # or in a zip file
            return False
        if self._is_in_package(name) or self._is_beside(path):
            return True
        # Elsewhere: what an installer put there, or cannot travel as it is, is the agents' affair.
        if spec.submodule_search_locations is None:
            return path.endswith(".py") and not _is_collection(os.path.dirname(path))
        root = os.path.dirname(os.path.dirname(path))
        places = [Path(place) for place in spec.submodule_search_locations]
        return not _is_collection(root) and not any(
            file.name.endswith(_COMPILED) for place in places for file in walk(place)
        )

    def _is_beside(self, path: str) -> bool:
        return any(path.startswith(os.path.join(directory, "")) for directory in self._directories)


def _is_collection(directory: str) -> bool:
    """Whether an installer put distributions into a directory (``pip install --target``)."""
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(directory))
    except OSError:
        return False


def _find_importable(name: str) -> ModuleSpec | None:
    """Return the spec that importing a top-level module would use; also that of an editable install."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None)
        except Exception:  # somebody else's finder
            continue
        if spec is not None:
            return spec
    return None


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

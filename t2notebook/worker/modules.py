"""Modules and sources that travel in the job package: found by `import`, shown by tracebacks."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import linecache
import sys
import types
from collections.abc import Mapping, Sequence

from .archive import Archive

MODULES = "modules/"
SOURCES = "sources.json"
_INIT = "/__init__.py"


class ShippedModules(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    """Finds and loads the modules of an archive, and no others.

    ``modules/<dotted.name>.py`` is a module, ``modules/<dotted.name>/__init__.py`` a package.

    Parameters
    ----------
    archive : Archive
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._members: dict[str, str] = {}
        for member in archive:
            if member.startswith(MODULES) and member.endswith(".py"):
                name = member.removeprefix(MODULES)
                name = name.removesuffix(_INIT) if name.endswith(_INIT) else name.removesuffix(".py")
                self._members[name] = member

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def parents(self) -> set[str]:
        """Names of packages that shipped modules lie in but that are not shipped themselves."""
        found = set()
        for name in self._members:
            while name := name.rpartition(".")[0]:
                found.add(name)
        return found - self._members.keys()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a shipped module, None for any other."""
        if fullname not in self._members:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, origin=self.get_filename(fullname), is_package=self.is_package(fullname)
        )

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a package; raises ImportError for an unknown one."""
        return self._member(fullname).endswith(_INIT)

    def get_filename(self, fullname: str) -> str:
        """Return the name that tracebacks show: the module's path beside the notebook."""
        return fullname.replace(".", "/") + (_INIT if self.is_package(fullname) else ".py")

    def get_source(self, fullname: str) -> str:
        """Return a module's text."""
        return importlib.util.decode_source(bytes(self._archive.member(self._member(fullname))))

    def get_code(self, fullname: str) -> types.CodeType:
        """Return a module's code."""
        code: types.CodeType = compile(
            self.get_source(fullname), self.get_filename(fullname), "exec", dont_inherit=True
        )
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module, its text known to tracebacks."""
        module.__file__ = self.get_filename(module.__name__)
        remember_source(module.__file__, self.get_source(module.__name__))
        exec(self.get_code(module.__name__), module.__dict__)

    def _member(self, fullname: str) -> str:
        try:
            return self._members[fullname]
        except KeyError:
            raise ImportError(f"no module {fullname} in the job package", name=fullname) from None


class _Parents(importlib.abc.MetaPathFinder):
    """Gives a namespace package for what shipped modules lie in, if nobody else has that package."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._names:
            return None
        return importlib.machinery.ModuleSpec(fullname, None, is_package=True)


def install(archive: Archive) -> ShippedModules:
    """Make the modules and sources of `archive` known to this process.

    Shipped modules are found before installed ones of the same name; every other name is left to the
    finders that are there.
    """
    shipped = ShippedModules(archive)
    sys.meta_path.insert(0, shipped)
    if parents := shipped.parents:
        sys.meta_path.append(_Parents(parents))
    if SOURCES in archive:
        sources: Mapping[str, str] = json.loads(bytes(archive.member(SOURCES)))
        for filename, text in sources.items():
            remember_source(filename, text)
    return shipped


def remember_source(filename: str, text: str) -> None:
    """Let tracebacks show the lines of `filename`, which is no file here."""
    # Without an mtime, checkcache() leaves the entry alone.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)

"""Something to do when a module has been imported, whoever imports it, and nothing if nobody does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_waiting: dict[str, Callable[[Any], None]] = {}


def when_imported(name: str, act: Callable[[Any], None]) -> None:
    """Call ``act(module)`` as soon as a module has been imported: now, if it has been.

    Parameters
    ----------
    name : str
    act : callable
        What it raises is nothing to whoever imports the module.
    """
    module = sys.modules.get(name)
    if module is not None:
        _call(act, module)
        return
    _waiting[name] = act
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _call(act: Callable[[Any], None], module: Any) -> None:
    try:
        act(module)
    except Exception:  # another version of it may have nothing of what we look for
        pass


class _Finder:
    """Finds what the other finders find, and wraps the loaders of modules that somebody waits for."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Return the spec of a module that is waited for."""
        act = _waiting.pop(name, None)
        if act is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, act)  # type: ignore[assignment]
                return spec
        _waiting[name] = act
        return None


class _Loader:
    """A loader that does something when it has run the module."""

    def __init__(self, loader: Any, act: Callable[[Any], None]) -> None:
        self._loader, self._act = loader, act

    def create_module(self, spec: Any) -> Any:
        """As the loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """As the loader does; then act."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _call(self._act, module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

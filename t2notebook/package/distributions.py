"""Installed distributions, with their versions, by top-level module; each is looked up once."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata

#: Top-level module -> (name, version), or None for one that no distribution has. Kept for the life of the process.
_known: dict[str, tuple[str, str] | None] = {}


def versions(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions that modules come from.

    Parameters
    ----------
    modules : iterable of str
        Dotted names; those of the standard library and of no distribution are left out.

    Returns
    -------
    dict of str to str
        Distribution to version, sorted.
    """
    wanted = (
        {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"__main__", "t2notebook"}
    )
    missing = wanted - _known.keys()
    for name in tuple(missing):
        try:
            _known[name] = (name, metadata.version(name))
            missing.discard(name)
        except (metadata.PackageNotFoundError, ValueError):
            pass
    if missing:
        _known.update(_search(missing))
    return dict(sorted(known for name in wanted if (known := _known[name]) is not None))


def _search(names: set[str]) -> dict[str, tuple[str, str] | None]:
    """Look for modules in the file lists of all distributions; packages_distributions() would parse them all."""
    found: dict[str, tuple[str, str] | None] = dict.fromkeys(names)
    for distribution in metadata.distributions():
        files = "\n" + (distribution.read_text("RECORD") or distribution.read_text("SOURCES.txt") or "")
        top_level = (distribution.read_text("top_level.txt") or "").split()
        for name in names:
            if found[name] is None and (
                name in top_level or f"\n{name}/" in files or f"\n{name}.py," in files
            ):
                found[name] = (distribution.metadata["Name"], distribution.version)
    return found

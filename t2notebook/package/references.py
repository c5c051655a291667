"""Modules and files that code and variables mention: what has to come along, or might be missed."""

from __future__ import annotations

import dis
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import CodeType
from typing import Any

from .global_names import inner_code
from .local_modules import Import
from .source_scan import absolute, words

_IMPORT = dis.opmap["IMPORT_NAME"]
_STORE_ATTR = dis.opmap["STORE_ATTR"]
_IMPORTERS = frozenset({"import_module", "__import__"})
#: Of a container, so many items are looked at.
_ITEMS = 100


@dataclass
class Mentions:
    """Imports and texts that were seen in code and values.

    Parameters
    ----------
    imports : set of Import
        Import statements.
    texts : set of str
        Short texts: constants of code, values of variables.
    is_dynamic : bool
        Whether modules are imported by a text.
    assigned : set of str
        Names of attributes that are assigned to (``helper.K = 5``).
    """

    imports: set[Import] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    is_dynamic: bool = False
    assigned: set[str] = field(default_factory=set)

    def joined(self, other: Mentions) -> Mentions:
        """Return what was seen by both."""
        return Mentions(
            self.imports | other.imports,
            self.texts | other.texts,
            self.is_dynamic or other.is_dynamic,
            self.assigned | other.assigned,
        )

    def see_code(self, code: CodeType) -> None:
        """Look at a code object, but not at those inside it."""
        self.imports.update(_imports(code, None))
        for each in code.co_consts:
            if isinstance(each, str):
                self.texts.update(words(each))
        self.assigned.update(_assigned(code))
        self.is_dynamic = self.is_dynamic or not _IMPORTERS.isdisjoint(code.co_names)

    def see_function(self, code: CodeType, package: Any) -> None:
        """Look for relative imports in a function and in all that is inside it; `package` is what they start from."""
        if isinstance(package, str) and package:
            self.imports.update(_imports(code, package))
            for inner in inner_code(code):
                self.see_function(inner, package)

    def see_value(self, value: Any) -> None:
        """Look at a variable's value, and at the items of a container."""
        items: Iterator[Any] = iter((value,))
        if isinstance(value, list | tuple | set | frozenset):
            items = islice(value, _ITEMS)
        elif isinstance(value, dict):
            items = islice(value.values(), _ITEMS)
        for each in items:
            if isinstance(each, os.PathLike):
                try:
                    each = os.fspath(each)
                except Exception:  # the object's own code
                    continue
            if type(each) is str:
                self.texts.update(words(each))

    @property
    def names(self) -> set[str]:
        """Texts that may be modules' names, if there are any that are imported by a text."""
        if not self.is_dynamic:
            return set()
        plain = {text for text in self.texts if _is_dotted(text)}
        relative = {text for text in self.texts if text.startswith(".") and _is_dotted(text.lstrip("."))}
        return plain | {
            absolute(text.lstrip("."), package, len(text) - len(text.lstrip(".")))
            for text in relative
            for package in islice(sorted(plain), _ITEMS)
        }


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _assigned(code: CodeType) -> Iterator[str]:
    if "setattr" in code.co_names:
        yield from (each for each in code.co_consts if isinstance(each, str))
    if _STORE_ATTR in code.co_code[::2]:
        for instruction in dis.get_instructions(code):
            if instruction.opcode == _STORE_ATTR:
                yield instruction.argval


def _imports(code: CodeType, package: str | None) -> Iterator[Import]:
    """Yield the absolute imports of a code object, or with `package` the relative ones."""
    if _IMPORT not in code.co_code[::2]:
        return
    previous: list[Any] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opcode == _IMPORT:
            level, names = previous[-2] or 0, tuple(previous[-1] or ())
            if package is None and not level:
                yield Import(instruction.argval, names)
            elif package is not None and level:
                yield Import(absolute(instruction.argval, package, level), names)
        if instruction.opname not in ("CACHE", "EXTENDED_ARG"):
            previous = [previous[-1], instruction.argval]

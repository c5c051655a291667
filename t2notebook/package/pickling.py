"""Pickles a worker function with all it uses: by value what the notebook defines, the same bytes every time.

On top of cloudpickle: stable names for the notebook's cells, no copies of large buffers, names that only class
bodies use, and an account of what was sent, under which variable, and what it refers to.
"""

from __future__ import annotations

import dis
import hashlib
import io
import linecache
import os
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from ..worker.archive import Bytes
from .capture import CellFunction, stays
from .names import global_reads, inner_code

#: Buffers from this size on lie beside the pickle, in members of their own. It is also where the C pickler
#: begins to hand over bytes without copying them (FRAME_SIZE_TARGET).
LARGE = 64 * 1024

#: ipykernel's and IPython's names for cells: the first holds the kernel's pid, the second a counter.
_CELL_FILE = re.compile(r".*[/\\]ipykernel_\d+[/\\][^/\\]+|<ipython-input-[^>]*>")
_IMPORT = dis.opmap["IMPORT_NAME"]


@dataclass(frozen=True)
class Import:
    """An import statement in code that travels by value."""

    module: str
    names: tuple[str, ...] = ()


@dataclass
class Account:
    """What was found while pickling.

    Parameters
    ----------
    sizes : dict of str to int
        Variable (``df``, ``config['x']``) to bytes, in steps of 64 KiB; small ones count as 0.
    modules : set of str
        Modules that the pickle refers to.
    imports : set of Import
        Imports inside the code that it holds.
    sources : dict of str to str
        File name in code objects to its text, for tracebacks.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    imports: set[Import] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """A variable on its way into the pickle, and who uses it."""

    variable: str
    value: Any
    owner: FunctionType | CellFunction | None


class Sink:
    """The file that a pickler writes to: small pieces joined, large ones kept where they are.

    The C pickler hands large bytes and bytearrays to `write` as they are, after the header of an in-band
    opcode. Here they become out-of-band buffers instead, so that nothing is copied.
    """

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._tail = b""
        self._large = 0
        self.buffers: list[pickle.PickleBuffer] = []

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._stream.tell() + self._large

    @property
    def pickled(self) -> memoryview:
        """The pickle itself."""
        return self._stream.getbuffer()

    def add(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer out of band, unless it is small: then the answer is True, "keep it in band"."""
        size = buffer.raw().nbytes
        if size < LARGE:
            return True
        self._large += size
        self.buffers.append(buffer)
        return False

    def write(self, piece: bytes | bytearray) -> int:
        """Take what the pickler writes."""
        if len(piece) >= LARGE and (header := self._header_of(piece)):
            self._stream.seek(-header, os.SEEK_END)
            self._stream.truncate()
            # builtins.<type>(next buffer)
            kind = type(piece).__name__.encode()
            self._stream.write(b"\x8c\x08builtins\x8c" + bytes([len(kind)]) + kind + b"\x93\x97\x85R")
            self._tail = b""
            self.buffers.append(pickle.PickleBuffer(piece))
            self._large += len(piece)
        else:
            self._stream.write(piece)
            self._tail = bytes(piece[-9:])
        return len(piece)

    def _header_of(self, piece: bytes | bytearray) -> int:
        """Return the size of the opcode before `piece` if that announces it as a bytes-like object, else 0."""
        if piece[:1] == b"\x95" and int.from_bytes(piece[1:9], "little") <= len(piece) - 9:
            return 0  # a frame of the pickler's own, or something that looks like it
        size = len(piece).to_bytes(8, "little")
        if type(piece) is bytes:
            if self._tail.endswith(b"B" + size[:4]) and len(piece) < 1 << 32:
                return 5
            return 9 if self._tail.endswith(b"\x8e" + size) else 0
        return 9 if type(piece) is bytearray and self._tail.endswith(b"\x96" + size) else 0


class _Variables:
    """The globals of a function, or a config, pickled as a dict whose entries are accounted for one by one."""

    def __init__(self, values: Mapping[str, Any], label: str, owner: FunctionType | CellFunction | None) -> None:
        self.values, self.label, self.owner = values, label, owner


class _OrderedSet:
    """A constant set of code (``x in {1, 2}``), whose own order depends on the hash seed."""

    def __init__(self, values: frozenset[Any]) -> None:
        self.values = sorted(values, key=lambda value: (type(value).__name__, repr(value)))


class Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Pickles into a `Sink` and keeps an `Account`."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, protocol=5, buffer_callback=sink.add)
        self.account = Account()
        #: The variables that are being pickled, outermost first; after a failure, the way to it.
        self.uses: list[Use] = []
        self._sink = sink
        self._counted = 0
        self._cells: dict[int, CellFunction] = {}
        self._filenames: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Reduce functions, classes and code; count what is referred to by name."""
        kind = type(obj)
        if kind is CodeType:
            return self._reduce_code(obj)
        if kind is _Variables:
            return dict, (), None, None, self._items(obj)
        if kind is _OrderedSet:
            return frozenset, (obj.values,)
        if kind is CellFunction:
            self._cells[id(obj.function)] = obj
            self.account.sources[obj.filename] = obj.source
            return self._dynamic_function_reduce(obj.function)
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented:
            if isinstance(obj, type | FunctionType | BuiltinFunctionType):
                if isinstance(module := getattr(obj, "__module__", None), str):
                    self.account.modules.add(module)
            elif isinstance(obj, ModuleType) and obj.__name__ in sys.modules:
                self.account.modules.add(obj.__name__)
        return reduced

    def _dynamic_function_reduce(self, func: FunctionType) -> Any:
        reduced = super()._dynamic_function_reduce(func)
        slots = reduced[2][1]
        cell = self._cells.get(id(func))
        if cell is not None:
            names = cell.names
        else:
            names = tuple(name for name in global_reads(func.__code__) if not stays(name, func.__globals__))
        values = {name: func.__globals__[name] for name in names if name in func.__globals__}
        if cell is not None:
            reduced[1][1].setdefault("__name__", "__main__")
            if "display" in cell.reads and "display" not in values:
                values["display"] = print  # what a kernel adds to the builtins
        closure = [_contents(each) for each in func.__closure__ or ()]
        slots["_cloudpickle_submodules"] = list(_submodules(func.__code__, [*values.values(), *closure]))
        slots["__globals__"] = _Variables(values, "{}", cell or func)
        return reduced

    def _items(self, variables: _Variables) -> Iterator[tuple[str, Any]]:
        """Yield a dict's items; the pickler asks for one when the one before is written."""
        for name, value in variables.values.items():
            self._count()
            self.uses.append(Use(variables.label.format(name), value, variables.owner))
            yield name, value
            self._count()
            self.uses.pop()

    def _count(self) -> None:
        size = self._sink.size
        if self.uses:
            name = self.uses[-1].variable
            self.account.sizes[name] = self.account.sizes.get(name, 0) + size - self._counted
        self._counted = size

    def _reduce_code(self, code: CodeType) -> Any:
        filename = self._stable_filename(code.co_filename)
        self.account.imports.update(_imports(code))
        constants = tuple(_OrderedSet(each) if type(each) is frozenset else each for each in code.co_consts)
        kind, arguments = _cloudpickle._code_reduce(code)
        # By identity: equal tuples that are other attributes stay what they are.
        arguments = tuple(
            constants if each is code.co_consts else filename if each is code.co_filename else each
            for each in arguments
        )
        return kind, arguments

    def _stable_filename(self, filename: str) -> str:
        known = self._filenames.get(filename)
        if known is None:
            known = filename
            if filename not in self.account.sources:
                text = _source_of(filename)
                if _CELL_FILE.fullmatch(filename):
                    known = f"<cell {hashlib.sha256((text or filename).encode()).hexdigest()[:12]}>"
                if text:
                    self.account.sources[known] = text
            self._filenames[filename] = known
        return known


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _source_of(filename: str) -> str:
    """Return the text of a cell or a script; empty for what lies in an installation, which agents have too."""
    if os.path.isabs(filename) and not _CELL_FILE.fullmatch(filename):
        from .local import is_installed

        if is_installed(filename):
            return ""
    return "".join(linecache.getlines(filename))


def _submodules(code: CodeType, values: list[Any]) -> Iterator[ModuleType]:
    """Yield the imported submodules that `code` reaches as attributes of modules among `values`, by name."""
    names: set[str] | None = None
    found = set()
    pending = [value.__name__ for value in values if isinstance(value, ModuleType) and hasattr(value, "__path__")]
    while pending:
        if names is None:
            names = set(_attributes(code))
        module = pending.pop()
        for name in names:
            inner = f"{module}.{name}"
            if inner not in found and isinstance(sys.modules.get(inner), ModuleType):
                found.add(inner)
                pending.append(inner)
    for name in sorted(found):
        yield sys.modules[name]


def _attributes(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in inner_code(code):
        yield from _attributes(inner)


def _imports(code: CodeType) -> Iterator[Import]:
    if _IMPORT not in code.co_code[::2]:
        return
    previous: list[Any] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opcode == _IMPORT and previous[-2] == 0:
            yield Import(instruction.argval, tuple(previous[-1] or ()))
        if instruction.opname != "CACHE":
            previous = [previous[-1], instruction.argval]

"""Pickles a worker function with all it uses: by value what the notebook defines, the same bytes every time.

On top of cloudpickle: stable names for the notebook's cells, no copies of large buffers, names that only class
bodies use, and an account of what was sent, under which variable, and what it refers to.
"""

from __future__ import annotations

import builtins
import hashlib
import linecache
import operator
import os
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from ..model.errors import PackageError
from ..protocol import pickling as shared
from ..protocol.reducers.code_objects import reduce_code
from ..worker.process.display import display
from .buffers import LARGE, NullSink, SearchTimeout, Sink
from .cell import ENV, CellFunction, stays
from .global_names import global_reads
from .local_modules import is_installed
from .pickle_errors import Use, explain
from .references import Mentions

#: ipykernel's and IPython's names for cells: the first holds the kernel's pid, the second a counter.
_CELL_FILE = re.compile(r".*[/\\]ipykernel_\d+[/\\][^/\\]+|<ipython-input-[^>]*>")
_PLAIN = frozenset({int, float, bool, type(None)})


@dataclass
class Account:
    """Findings while pickling.

    Parameters
    ----------
    sizes : dict of str to int
        Variable (``df``, ``config['x']``) to bytes, in steps of 64 KiB; small ones count as 0.
    modules : set of str
        Modules that the pickle refers to.
    mentions : Mentions
        Imports inside the code that it holds, and texts that may name modules or files.
    sources : dict of str to str
        File name in code objects to its text, for tracebacks.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    mentions: Mentions = field(default_factory=Mentions)
    sources: dict[str, str] = field(default_factory=dict)

    def joined(self, other: Account) -> Account:
        """Return what was found by both; a variable that both sent counts for its bytes in both."""
        sizes = {
            name: self.sizes.get(name, 0) + other.sizes.get(name, 0) for name in (*self.sizes, *other.sizes)
        }
        return Account(
            sizes,
            self.modules | other.modules,
            self.mentions.joined(other.mentions),
            {**other.sources, **self.sources},
        )


class _Variables:
    """The globals of a function, or a config, pickled as a dict whose entries are accounted for one by one."""

    def __init__(
        self, values: Mapping[str, Any], label: str, owner: FunctionType | CellFunction | None
    ) -> None:
        self.values, self.label, self.owner = values, label, owner


@dataclass(frozen=True, eq=False)
class _Variable:
    """An entry of `_Variables`."""

    use: Use


def _is_kernels(value: Any) -> bool:
    """Return whether `value` is a kernel's own `display`, which it has among the builtins; or nothing."""
    return value is None or value is getattr(builtins, "display", None)


@dataclass(frozen=True, eq=False)
class _Mark:
    """The begin or the end of a variable: pickled as 0, noticed by the pickler."""

    use: Use
    begins: bool


class _OrderedSet:
    """A constant set of code (``x in {1, 2}``), whose own order depends on the hash seed."""

    def __init__(self, values: frozenset[Any]) -> None:
        self.values = sorted(values, key=lambda value: (type(value).__name__, repr(value)))


class Pickler(shared.Pickler):
    """Pickles into a `Sink` and keeps an `Account`.

    Parameters
    ----------
    sink : Sink
    without : set of str
        Variables that do not travel with the cell although it names them.
    """

    def __init__(self, sink: Sink, without: AbstractSet[str] = frozenset()) -> None:
        super().__init__(sink, protocol=5, buffer_callback=sink.add)
        self.account = Account()
        #: The variables that are being pickled, outermost first; after a failure, the way to it.
        self.uses: list[Use] = []
        self._sink = sink
        self._without = without
        self._counted = 0
        self._cells: dict[int, CellFunction] = {}
        self._namespaces: set[int] = set()
        self._filenames: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Reduce functions, classes and code; count what is referred to by name."""
        kind = type(obj)
        if kind is _Variables:
            return dict, (), None, None, self._items(obj)
        if kind is _Variable:
            return self._enter(obj)
        if kind is _Mark:
            return self._pass(obj)
        if kind is _OrderedSet:
            return frozenset, (obj.values,)
        if kind is CellFunction:
            self._cells[id(obj.function)] = obj
            self._namespaces.add(id(obj.function.__globals__))
            self.account.sources[obj.filename] = obj.source
            return self.reduce_function(obj.function)
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented:
            named = isinstance(obj, type | FunctionType | BuiltinFunctionType)
            module = obj.__name__ if kind is ModuleType else (obj if named else kind).__module__
            if isinstance(module, str) and module.partition(".")[0] != "cloudpickle":
                self.account.modules.add(module)
        return reduced

    def reduce_function(self, function: FunctionType) -> Any:
        """Reduce a function, with the names that it reads, each accounted for.

        Raises
        ------
        PackageError
            When a name that it reads cannot travel.
        """
        self.account.mentions.see_function(function.__code__, function.__globals__.get("__package__"))
        cell = self._cells.get(id(function))
        reads = global_reads(function.__code__) if cell is None else cell.reads
        if cell is not None:
            names = tuple(name for name in cell.names if name not in self._without)
        else:
            if ENV in reads and ENV in function.__globals__ and id(function.__globals__) in self._namespaces:
                raise PackageError(
                    f"function {function.__qualname__!r} reads the notebook's variable 'env', but on workers env is "
                    "the worker's environment: give the variable another name, or the function a parameter env"
                )
            names = tuple(name for name in reads if not self._stays(name, function))
        found = function.__globals__
        values = {name: found[name] for name in names if name in found}
        if cell is not None:
            self._globals.new(function).setdefault("__name__", "__main__")
        # A function that is submitted by itself finds it here as a cell does: among the builtins.
        has_display = id(found) in self._namespaces or hasattr(builtins, "display")
        if has_display and "display" in reads and _is_kernels(values.get("display")):
            values["display"] = display
        variables = _Variables(values, "{}", cell or function)
        return self.function_with(function, variables, list(values.values()))

    def _stays(self, name: str, func: FunctionType) -> bool:
        # Workers set `env`, whatever the notebook has under that name.
        return stays(name, func.__globals__) or (name == ENV and id(func.__globals__) in self._namespaces)

    def _items(self, variables: _Variables) -> Iterator[tuple[str, Any]]:
        for name, value in variables.values.items():
            label = variables.label.format(name)
            self.account.sizes.setdefault(label, 0)
            self.account.mentions.see_value(value)
            if type(value) in _PLAIN or (type(value) in (str, bytes) and len(value) < LARGE):
                yield name, value
            else:
                yield name, _Variable(Use(label, value, variables.owner))

    def _enter(self, variable: _Variable) -> Any:
        # operator.getitem((0, value, 0), 1) is the value; the marks around it tell when it begins and ends.
        use = variable.use
        return operator.getitem, ((_Mark(use, True), use.value, _Mark(use, False)), 1)

    def _pass(self, mark: _Mark) -> Any:
        self._count()
        if mark.begins:
            self.uses.append(mark.use)
        else:
            self.uses.pop()
        return int, ()

    def _count(self) -> None:
        size = self._sink.size
        if self.uses:
            name = self.uses[-1].variable
            self.account.sizes[name] = self.account.sizes.get(name, 0) + size - self._counted
        self._counted = size

    def reduce_code(self, code: CodeType) -> Any:
        """Reduce a code object under the file name that it is to have; note what it imports."""
        filename = self._stable_filename(code.co_filename)
        self.account.mentions.see_code(code)
        constants = tuple(_OrderedSet(each) if type(each) is frozenset else each for each in code.co_consts)
        return reduce_code(code, co_filename=filename, co_consts=constants)

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


def _source_of(filename: str) -> str:
    """Return the text of a cell or a script; empty for what lies in an installation, which agents have too."""
    if os.path.isabs(filename) and not _CELL_FILE.fullmatch(filename) and is_installed(filename):
        return ""
    return "".join(linecache.getlines(filename))


def pickle_job(worker: Any, config: Mapping[str, Any]) -> tuple[Sink, Account]:
    """Pickle what a job package holds: ``{"worker": worker, "config": dict(config)}``.

    Raises
    ------
    PackageError
        When something cannot be pickled; the message names the variable and says why.
    """
    without: set[str] = set()
    while True:
        sink = Sink()
        pickler = Pickler(sink, without)
        job = {"worker": worker, "config": _Variables(config, "config[{!r}]", None)}
        try:
            pickler.dump(job)
        except PackageError:
            raise
        except Exception as error:
            # What the cell usually binds itself, it can do without.
            spare = next(
                (use for use in pickler.uses if _is_spare(use) and use.variable not in without), None
            )
            if spare is None:
                raise explain(error, pickler.uses, worker, _attempt) from None
            without.add(spare.variable)
        else:
            return sink, pickler.account


def _is_spare(use: Use) -> bool:
    return isinstance(use.owner, CellFunction) and use.variable in use.owner.optional


def _attempt(value: Any, until: float) -> BaseException | None:
    try:
        Pickler(NullSink(until)).dump(value)
    except SearchTimeout:
        return None
    except Exception as error:
        return error
    return None


def pickle_arguments(value: Any) -> tuple[Sink, Account]:
    """Pickle the arguments of a call as what a job package holds.

    Raises
    ------
    PackageError
        When something of them cannot be pickled for a reason that names a variable; else whatever pickle raises.
    """
    sink = Sink()
    pickler = Pickler(sink)
    pickler.dump(value)
    return sink, pickler.account

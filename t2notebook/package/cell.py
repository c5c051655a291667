"""A cell becomes a worker function: the cell's own code, and the notebook's names that it uses.

The function behaves as a notebook cell does: what it binds is global, functions of the notebook see it, and
its last expression is its value. Nothing here knows a kernel: a cell is plain source, a notebook is a dict.
"""

from __future__ import annotations
import __future__

import ast
import re
import tokenize
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from types import CodeType, FunctionType
from typing import Any

from ..model.errors import PackageError, SubmitError
from .global_names import stores, unbound_reads

#: The worker's environment, in scope in every cell.
ENV = "env"
_PARAMETER = "__t2_env__"
_OWN_ENV = (
    "the notebook has a variable env, which does not travel: in the cell, env is the worker's environment; "
    "give the variable another name to use it on workers"
)
_CO_OPTIMIZED, _CO_COROUTINE = 0x1, 0x80

#: What IPython puts into a notebook's namespace for itself.
_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h")
_SHELL = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open"})
_MODULE_FACTS = frozenset(
    {
        "__annotations__",
        "__builtin__",
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)
_FUTURES = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}


@dataclass(frozen=True, eq=False)
class CellFunction:
    """A cell as a function of the worker's environment.

    Parameters
    ----------
    function : function
        The cell's code; its globals are the notebook's namespace. A coroutine function if the cell awaits.
    name, filename, source : str
        `filename` is what tracebacks show, ``<cell NAME>``.
    names : tuple of str
        The notebook's names that travel along.
    reads : mapping of str to int
        Each name that the cell reads before it surely has bound it, with the first line that does.
    optional : frozenset of str
        Those of `names` that the cell may also bind itself, on some way through its code.
    notes : tuple of str
        What the user should know of it, one line each.
    """

    function: FunctionType
    name: str
    filename: str
    source: str
    names: tuple[str, ...]
    reads: Mapping[str, int]
    optional: frozenset[str]
    notes: tuple[str, ...] = ()

    def __call__(self, env: Any) -> Any:
        """Run the cell here, in the notebook's own namespace."""
        return self.function(env)


def cell_function(
    source: str, namespace: dict[str, Any], *, name: str, include: Sequence[str] = ()
) -> CellFunction:
    """Return the worker function that a cell is.

    Parameters
    ----------
    source : str
        The cell's text, plain Python. Line 1 is its first line.
    namespace : dict
        The notebook's variables; the function's globals. Not copied: values are taken when the job is packed.
    name : str
        The job's name, for tracebacks.
    include : sequence of str
        Names that travel along although nothing in the code shows that they are used.

    Raises
    ------
    SyntaxError
        As Python raises it, with the cell's own lines.
    SubmitError
        For a magic, ``from m import *``, or a name in `include` that is unknown or ``env``.
    PackageError
        For IPython's history (``Out[1]``, ``_``), which stays in the notebook.
    """
    filename = f"<cell {name}>"
    tree, module, flags = _parse(source, filename, namespace)
    _return_last(tree, source)
    kind = "async def" if module.co_flags & _CO_COROUTINE else "def"
    function = _compile(tree, sorted({ENV, *stores(module)}), filename, namespace, kind, flags)
    code = function.__code__
    reads = unbound_reads(code, frozenset({ENV}))
    if "get_ipython" in reads and "get_ipython" not in include:
        raise SubmitError(_magics(reads["get_ipython"]))
    own = stores(code)
    for read, line in reads.items():
        if read in namespace and read not in own and read not in include and is_history(read, namespace):
            raise PackageError(
                f"line {line} uses {read!r}, the notebook's history, which does not travel to workers: "
                "give that value a name of its own"
            )
    for extra in include:
        if extra == ENV:
            raise SubmitError(
                "-i env: on workers env is the worker's environment; give the notebook's variable another name"
            )
        if extra not in namespace:
            raise SubmitError(f"-i {extra}: the notebook has no variable {extra!r}")
    used = [read for read in reads if read in namespace and not stays(read, namespace)]
    names = tuple(dict.fromkeys([*used, *include]))
    notes = (_OWN_ENV,) if ENV in namespace and ENV in unbound_reads(module) else ()
    optional = own.intersection(used).difference(include)
    return CellFunction(function, name, filename, source, names, reads, optional, notes)


def stays(name: str, namespace: Mapping[str, Any]) -> bool:
    """Whether a global belongs to the notebook itself and never travels by being used."""
    if name in _MODULE_FACTS:
        return True
    return "_oh" in namespace and (
        is_history(name, namespace) or (name in _SHELL and _is_shells(name, namespace))
    )


def is_history(name: str, namespace: Mapping[str, Any]) -> bool:
    """Whether a global is one of IPython's names for earlier input and output."""
    if "_oh" not in namespace:
        return False
    if name in ("In", "Out"):
        return namespace.get(name) is namespace.get("_ih" if name == "In" else "_oh")
    return _HISTORY.fullmatch(name) is not None


def _is_shells(name: str, namespace: Mapping[str, Any]) -> bool:
    value = namespace.get(name)
    # IPython's `open` calls itself what it wraps: its globals tell where it is from.
    homes = (
        getattr(value, "__module__", None) or type(value).__module__,
        getattr(value, "__globals__", {}).get("__name__"),
    )
    return any(isinstance(home, str) and home.partition(".")[0] in ("IPython", "ipykernel") for home in homes)


def _magics(line: int) -> str:
    return f"magics and ! commands do not run on workers: line {line}"


def _parse(source: str, filename: str, namespace: Mapping[str, Any]) -> tuple[ast.Module, CodeType, int]:
    """Return the cell's syntax, its code as a module would have it, and the flags to compile with."""
    # A notebook's `from __future__ import` holds for the cells after it.
    flags = sum(flag for name, flag in _FUTURES.items() if namespace.get(name) is getattr(__future__, name))
    try:
        module = compile(source, filename, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        tree = ast.parse(source, filename)
    except SyntaxError as error:
        line = error.lineno or 1
        text = source.splitlines()[line - 1 : line] or [""]
        if text[0].lstrip().startswith(("%", "!")):
            raise SubmitError(_magics(line)) from None
        raise
    except ValueError as error:  # a null byte
        raise SubmitError(f"the cell is no Python source: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            star = f"from {'.' * node.level}{node.module or ''} import *"
            raise SubmitError(
                f"line {node.lineno}: '{star}' does not work in a cell for workers; import the names that it uses"
            )
    return tree, module, flags | (module.co_flags & sum(_FUTURES.values()))


def _compile(
    tree: ast.Module, bound: Sequence[str], filename: str, namespace: dict[str, Any], kind: str, flags: int
) -> FunctionType:
    """Return ``def cell(env): global <bound>; <body>`` with the cell's own positions."""
    head = ast.parse(
        f"{kind} cell({_PARAMETER}, /):\n global {', '.join(bound)}\n {ENV} = {_PARAMETER}\n del {_PARAMETER}"
    )
    for node in ast.walk(head):
        if isinstance(node, ast.stmt | ast.expr | ast.arg):
            node.lineno = node.end_lineno = 1
            node.col_offset = node.end_col_offset = 0
    definition = head.body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.body += [_AsFunctionBody().visit(statement) for statement in tree.body]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # said already
        module = compile(head, filename, "exec", flags, dont_inherit=True)
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    # Without CO_OPTIMIZED, locals() and exec() in the cell mean its globals, as in any module's code.
    code = code.replace(co_name="<module>", co_qualname="<module>", co_flags=code.co_flags & ~_CO_OPTIMIZED)
    return FunctionType(code, namespace, "cell")


def _return_last(tree: ast.Module, source: str) -> None:
    """Make the last expression the function's value, unless a semicolon follows it."""
    if tree.body and isinstance(last := tree.body[-1], ast.Expr) and not _is_silent(source):
        tree.body[-1] = ast.copy_location(ast.Return(value=last.value), last)


def _is_silent(source: str) -> bool:
    """Whether the cell's last token is a semicolon, which hides the value of an expression."""
    ignored = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    if not re.search(r";\s*(#[^\n]*\s*)*\Z", source):
        return False
    tokens = [
        token for token in tokenize.generate_tokens(StringIO(source).readline) if token.type not in ignored
    ]
    return bool(tokens) and tokens[-1].string == ";"


class _AsFunctionBody(ast.NodeTransformer):
    """Rewrites what a module's code may say of its names and a function's may not."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        """``x: int = 1`` is ``x = 1``: a function may not annotate a global."""
        if not isinstance(node.target, ast.Name):
            return node
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def visit_Global(self, node: ast.Global) -> ast.stmt:
        """Everything is global already."""
        return ast.copy_location(ast.Pass(), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        """``from __future__ import ...`` has become a compiler flag."""
        return ast.copy_location(ast.Pass(), node) if node.module == "__future__" else node

    def _leave(self, node: ast.stmt) -> ast.stmt:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _leave

"""Code objects taken apart and put together again by what Python documents of them."""

from __future__ import annotations

from types import CodeType
from typing import Any

#: What `code.replace` takes. The file name among them: tracebacks and `inspect.getsource` look it up.
_FIELDS = tuple(
    name
    for name in (
        "co_argcount",
        "co_posonlyargcount",
        "co_kwonlyargcount",
        "co_nlocals",
        "co_stacksize",
        "co_flags",
        "co_firstlineno",
        "co_code",
        "co_consts",
        "co_names",
        "co_varnames",
        "co_freevars",
        "co_cellvars",
        "co_filename",
        "co_name",
        "co_qualname",
        "co_linetable",
        "co_exceptiontable",
    )
    if hasattr(CodeType, name)
)


def _template() -> None: ...


def reduce_code(code: CodeType, **changes: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what pickle makes a code object of.

    Parameters
    ----------
    code : code object
    **changes
        Fields, as `code.replace` names them, that are to be others on the other side.
    """
    return make_code, tuple(_fresh(changes.get(name, getattr(code, name))) for name in _FIELDS)


def make_code(*values: Any) -> CodeType:
    """Return the code object that `reduce_code` took apart."""
    return _template.__code__.replace(**dict(zip(_FIELDS, values, strict=True)))


def _fresh(value: Any) -> Any:
    """Return a tuple of its own for one that code objects may share, or not, as the interpreter pleases.

    Pickle writes a shared one as a reference, so the bytes would not be the same every time.
    """
    return tuple(list(value)) if type(value) is tuple else value

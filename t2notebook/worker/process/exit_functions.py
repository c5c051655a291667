"""Exit functions of C libraries: whether any but those of the executor's own libraries may be registered."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


class _Library(ctypes.Structure):
    """The beginning of `struct dl_phdr_info` (dl_iterate_phdr(3)); `adds` counts all loads of libraries so far."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("number_of_headers", ctypes.c_uint16),
        ("adds", ctypes.c_ulonglong),
        ("subtractions", ctypes.c_ulonglong),
    )


_C: Any = ctypes.PyDLL(None) if sys.platform != "win32" else None  # with the GIL held: no other thread runs
_iterate: Any = getattr(_C, "dl_iterate_phdr", None)
_fflush: Any = getattr(_C, "fflush", None)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.POINTER(ctypes.c_int64)
)


def _note(library: Any, size: int, count: Any) -> int:
    if size >= ctypes.sizeof(_Library):
        count[0] = library[0].adds
    return 1  # the first one tells


_NOTE = _Callback(_note)


def _loaded() -> int:
    """Return how many shared libraries this process has loaded since it began; -1 where that cannot be told."""
    count = ctypes.c_int64(-1)
    if _iterate is not None:
        _iterate(_NOTE, ctypes.byref(count))
    return count.value


#: Those that an executor loads for itself, whose exit functions only give memory back; -1: not counted.
_ours = -1


def count_ours() -> None:
    """Count what is loaded now as the executor's own; before any module of a job is imported."""
    global _ours
    _ours = _loaded()


def may_be_registered() -> bool:
    """Return whether a library has been loaded that may have exit functions which somebody relies on."""
    return _ours < 0 or _loaded() != _ours


def flush() -> None:
    """Write what is in the buffers of C's own streams."""
    if _fflush is not None:
        _fflush(None)

"""A disk that loses what was not synced when its power is cut: a VFS of SQLite's (https://sqlite.org/vfs.html), around
the one that it has, in this process.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import ctypes.util
import os
import sqlite3  # noqa: F401  the library has to be the one that it has loaded
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
# The name is kept by who opens, so it is passed on as the pointer that it is.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)


#: SQLite may call back as long as a file is open.
_ALIVE: list[Any] = []


class _Methods(Structure):
    """``sqlite3_io_methods``; what is behind the first ones is copied as it is."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("rest", c_void_p * 13),
    )


class _File(Structure):
    """``sqlite3_file``."""

    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(Structure):
    """``sqlite3_vfs``."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("rest", c_void_p * 15),
    )


def library() -> ctypes.CDLL | None:
    """Return the library that `sqlite3` uses, None if it has one of its own inside."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    for line in maps.splitlines():
        if "libsqlite3" in line:
            return ctypes.CDLL(line.split()[-1])
    return (
        ctypes.CDLL(_sqlite3.__file__)
        if hasattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_vfs_find")
        else None
    )


class LossyDisk:
    """What has been synced of each file, by path; `syncs` counts."""

    def __init__(self, sqlite: ctypes.CDLL) -> None:
        self.syncs = 0
        self.is_ignoring_syncs = False
        self._synced: dict[str, bytes] = {}
        self._open: dict[int, tuple[str, Any]] = {}
        self._sqlite = sqlite
        sqlite.sqlite3_vfs_find.restype = POINTER(_Vfs)
        sqlite.sqlite3_vfs_find.argtypes = (c_char_p,)
        sqlite.sqlite3_vfs_register.argtypes = (POINTER(_Vfs), c_int)
        sqlite.sqlite3_vfs_unregister.argtypes = (POINTER(_Vfs),)
        self._real = sqlite.sqlite3_vfs_find(None)
        self._mine = _Vfs.from_buffer_copy(self._real.contents)
        self._mine.name = b"lossy"
        self._kept = [_OPEN(self._on_open), _WRITE(self._on_write), _TRUNCATE(self._on_truncate)]
        self._kept += [_SYNC(self._on_sync), _CLOSE(self._on_close)]
        _ALIVE.append(self)
        self._mine.open = ctypes.cast(self._kept[0], c_void_p).value

    @contextmanager
    def mounted(self) -> Iterator[LossyDisk]:
        """Have all files that SQLite opens meanwhile lie on this disk."""
        self._sqlite.sqlite3_vfs_register(ctypes.pointer(self._mine), 1)
        try:
            yield self
        finally:
            self._sqlite.sqlite3_vfs_unregister(ctypes.pointer(self._mine))
            self._sqlite.sqlite3_vfs_register(self._real, 1)

    def cut_power(self, directory: Path, survivors: Path) -> None:
        """Leave in `survivors` what is on the disk of the files of `directory`."""
        survivors.mkdir()
        for path, content in self._synced.items():
            if Path(path).parent == directory and Path(path).exists():
                (survivors / Path(path).name).write_bytes(content)

    # The VFS.

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code = _OPEN(self._real.contents.open)(
            ctypes.cast(self._real, c_void_p).value, name, file, flags, out
        )
        handle = ctypes.cast(file, POINTER(_File)).contents
        if code == 0 and name is not None and handle.methods:
            real = handle.methods.contents
            mine = _Methods.from_buffer_copy(real)
            mine.version = min(real.version, 2)  # no memory mapping of the file itself
            for field, callback in zip(("write", "truncate", "sync", "close"), self._kept[1:], strict=True):
                setattr(mine, field, ctypes.cast(callback, c_void_p).value)
            handle.methods = ctypes.pointer(mine)
            self._open[file] = (os.fsdecode(ctypes.string_at(name)), (real, mine))
        return int(code)

    def _on_write(self, file: int, data: int, length: int, offset: int) -> int:
        return int(_WRITE(self._open[file][1][0].write)(file, data, length, offset))

    def _on_truncate(self, file: int, size: int) -> int:
        return int(_TRUNCATE(self._open[file][1][0].truncate)(file, size))

    def _on_sync(self, file: int, flags: int) -> int:
        path, (real, _) = self._open[file]
        code = int(_SYNC(real.sync)(file, flags))
        self.syncs += 1
        if not self.is_ignoring_syncs:
            self._synced[path] = Path(path).read_bytes()
        return code

    def _on_close(self, file: int) -> int:
        _, (real, _) = self._open.pop(file)
        return int(_CLOSE(real.close)(file))

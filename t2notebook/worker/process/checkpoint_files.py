"""Files of checkpoints: in a directory that workers share, or at an address of fsspec (``s3://...``).

Both know how to write a file so that it is there whole or not at all. On a directory that is a rename after the data
has reached the disk; an object store has it so by itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol

Piece = bytes | bytearray | memoryview
#: Bytes after which the disk is set to work, while what follows is still being written.
CHUNK = 8 << 20
_WRITE = 2  # SYNC_FILE_RANGE_WRITE, linux/fs.h


def _nothing(number: int, chunk: memoryview) -> None:
    pass


class Files(Protocol):
    """Files by paths with ``/``, relative to a root."""

    def write(
        self, path: str, pieces: Sequence[Piece], written: Callable[[int, memoryview], None] = _nothing
    ) -> None:
        """Write a file, whole or not at all; when this returns, it outlives the machine.

        Parameters
        ----------
        path : str
        pieces : sequence of bytes-like
        written : callable
            ``written(number, chunk)`` is called with each chunk of each piece in turn, while the disk works on it if
            that can be.
        """

    def create(self, path: str, data: bytes) -> None:
        """Write a small file unless there is one; of several who do, one wins."""

    def read(self, path: str) -> bytes:
        """Return a small file; raises FileNotFoundError."""

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open a file for ``readinto``; raises FileNotFoundError."""

    def names(self, path: str) -> list[str]:
        """Return what lies in a folder; nothing, if it does not exist."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""


def _chunks(pieces: Sequence[Piece]) -> Iterator[tuple[int, memoryview]]:
    for number, piece in enumerate(pieces):
        view = memoryview(piece).cast("B")
        for begin in range(0, len(view), CHUNK):
            yield number, view[begin : begin + CHUNK]


@cache
def _sync_file_range() -> Callable[..., int] | None:
    """Return Linux's call that sets the disk to work on a part of a file, and does not wait for it."""
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def make_private(root: str, path: str) -> None:
    """Make a folder below `root`, and those above it, for the user alone; `root` as others have it."""
    os.makedirs(root, exist_ok=True)
    place = root
    for part in path.split("/"):
        place = os.path.join(place, part)
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)


class LocalFiles:
    """Files of a directory, of the worker's user alone.

    Parameters
    ----------
    root : str
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def write(
        self, path: str, pieces: Sequence[Piece], written: Callable[[int, memoryview], None] = _nothing
    ) -> None:
        """Write next to its place, have it on the disk, and move it there.

        Parameters
        ----------
        path, pieces, written
            As of `Files.write`.
        """
        target = os.path.join(self._root, path)
        folder = os.path.dirname(target)
        make_private(self._root, os.path.dirname(path))
        part = f"{target}.part-{os.getpid()}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                begin, end = 0, 0
                for number, chunk in _chunks(pieces):
                    view = chunk
                    while view:
                        view = view[os.write(descriptor, view) :]
                    end += len(chunk)
                    if end - begin >= CHUNK and (start := _sync_file_range()) is not None:
                        # The disk begins now, and not at the end: copying, summing up and writing take about as long.
                        start(descriptor, begin, end - begin, _WRITE)
                        begin = end
                    written(number, chunk)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)  # what was written of it only makes a full disk fuller
            raise
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def create(self, path: str, data: bytes) -> None:
        """Write a small file unless there is one."""
        target = os.path.join(self._root, path)
        make_private(self._root, os.path.dirname(path))
        part = f"{target}.part-{os.uname().nodename}-{os.getpid()}"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            with suppress(FileExistsError):
                os.link(part, target)
        finally:
            os.unlink(part)

    def read(self, path: str) -> bytes:
        """Return a small file."""
        with open(os.path.join(self._root, path), "rb") as file:
            return file.read()

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open a file."""
        with open(os.path.join(self._root, path), "rb", buffering=0) as file:
            yield file

    def names(self, path: str) -> list[str]:
        """Return what lies in a folder."""
        try:
            return sorted(os.listdir(os.path.join(self._root, path)))
        except FileNotFoundError:
            return []

    def remove(self, path: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._root, path))


class RemoteFiles:
    """Files of a file system of fsspec's, whose PUT is whole or not at all.

    Parameters
    ----------
    url : str
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._fs, root = url_to_fs(url)
        self._root = root.rstrip("/")

    def write(
        self, path: str, pieces: Sequence[Piece], written: Callable[[int, memoryview], None] = _nothing
    ) -> None:
        """Write an object.

        Parameters
        ----------
        path, pieces, written
            As of `Files.write`.
        """
        target = f"{self._root}/{path}"
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        with self._fs.open(target, "wb") as file:
            for number, chunk in _chunks(pieces):
                file.write(chunk)
                written(number, chunk)

    def create(self, path: str, data: bytes) -> None:
        """Write an object unless there is one; not every store can keep two who do it at once apart."""
        if not self._fs.exists(f"{self._root}/{path}"):
            self.write(path, [data])

    def read(self, path: str) -> bytes:
        """Return an object."""
        return bytes(self._fs.cat_file(f"{self._root}/{path}"))

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open an object."""
        with self._fs.open(f"{self._root}/{path}", "rb") as file:
            yield file

    def names(self, path: str) -> list[str]:
        """Return what lies in a folder."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(f"{self._root}/{path}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def remove(self, path: str) -> None:
        """Remove an object."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")


def files_at(root: str) -> Files:
    """Return the files of a directory or of an address.

    Raises
    ------
    ImportError, ValueError
        When fsspec, or what it needs for such an address, is not installed here.
    """
    return RemoteFiles(root) if "://" in root else LocalFiles(root)

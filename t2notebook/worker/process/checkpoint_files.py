"""Files of checkpoints: in a directory that workers share, or at an address of fsspec (``s3://...``).

Both know how to write a file so that it is there whole or not at all. On a directory that is a rename after the data
has reached the disk; an object store has it so by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

Piece = bytes | bytearray | memoryview


def _nothing() -> None:
    pass


class Files(Protocol):
    """Files by paths with ``/``, relative to a root."""

    def write(self, path: str, pieces: Sequence[Piece], meanwhile: Callable[[], None] = _nothing) -> None:
        """Write a file, whole or not at all; when this returns, it outlives the machine.

        Parameters
        ----------
        path : str
        pieces : sequence of bytes-like
        meanwhile : callable
            Called once, while the disk works if that can be.
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


def _sync(descriptor: int, meanwhile: Callable[[], None]) -> None:
    """Have a file on the disk, and do something else until it is there."""
    if meanwhile is _nothing:
        os.fsync(descriptor)
        return
    errors: list[BaseException] = []

    def sync() -> None:
        try:
            os.fsync(descriptor)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    try:
        meanwhile()
    finally:
        thread.join()
    if errors:
        raise errors[0]


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

    def write(self, path: str, pieces: Sequence[Piece], meanwhile: Callable[[], None] = _nothing) -> None:
        """Write next to its place, have it on the disk, and move it there.

        Parameters
        ----------
        path, pieces, meanwhile
            As of `Files.write`.
        """
        target = os.path.join(self._root, path)
        folder = os.path.dirname(target)
        make_private(self._root, os.path.dirname(path))
        part = f"{target}.part-{os.getpid()}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                for piece in pieces:
                    view = memoryview(piece).cast("B")
                    while view:
                        view = view[os.write(descriptor, view) :]
                _sync(descriptor, meanwhile)
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

    def write(self, path: str, pieces: Sequence[Piece], meanwhile: Callable[[], None] = _nothing) -> None:
        """Write an object.

        Parameters
        ----------
        path, pieces, meanwhile
            As of `Files.write`.
        """
        target = f"{self._root}/{path}"
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        with self._fs.open(target, "wb") as file:
            for piece in pieces:
                file.write(piece)
        meanwhile()

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

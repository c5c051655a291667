"""Archives: an object and its large buffers in one plain tar, written and read without a second copy in
memory.

An archive is an uncompressed tar whose first member, ``manifest.json``, holds the sha256 and size of every
other member; so the digest of the manifest stands for the whole. Members start on 512-byte borders, so a
buffer can be used where it lies in a memory map.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from ..model.text import dumps, loads
from .reducers.functions import make_function

#: Members whose names begin so are a tree of modules and their data; its root comes first on `sys.path`.
MODULES = "modules/"

#: Member: file name in code objects to text, as JSON.
SOURCES = "sources.json"

FORMAT = 1
MANIFEST = "manifest.json"
PICKLE = "object.pickle"
BUFFERS = "buffers/"
#: The same of what a job's workers run first.
SETUP_PICKLE = "setup.pickle"
SETUP_BUFFERS = "setup/"

Bytes = bytes | bytearray | memoryview


class ArchiveError(Exception):
    """An archive is damaged, or is not one."""


def write(target: BinaryIO, members: Sequence[tuple[str, Bytes]], facts: Mapping[str, Any]) -> str:
    """Write an archive and return its digest.

    Parameters
    ----------
    target : binary file
        Where to write; only `write` is used.
    members : sequence of (name, bytes-like)
        In the order in which they are to lie.
    facts : mapping
        More fields for the manifest, JSON-ready: anything that is the same for the same content.

    Returns
    -------
    str
        Hex sha256 of the manifest.
    """
    views = [(name, memoryview(data).cast("B")) for name, data in members]
    digests = {name: hashlib.sha256(view).hexdigest() for name, view in views}
    head, pieces = _pieces(views, facts, digests)
    for piece in pieces:
        target.write(piece)
    return hashlib.sha256(head).hexdigest()


def pieces(members: Sequence[tuple[str, Bytes]], facts: Mapping[str, Any]) -> list[Bytes]:
    """Return the pieces of an archive whose members' digests nobody asks for: whoever carries it has one of the whole.

    Parameters
    ----------
    members, facts
        As of `write`.

    Returns
    -------
    list of bytes-like
        The members among them are where they were.
    """
    views = [(name, memoryview(data).cast("B")) for name, data in members]
    return _pieces(views, facts, dict.fromkeys((name for name, _ in views), ""))[1]


def _pieces(
    views: Sequence[tuple[str, memoryview]], facts: Mapping[str, Any], digests: Mapping[str, str]
) -> tuple[bytes, list[Bytes]]:
    """Return the manifest, and the tar in pieces."""
    manifest = {
        "format": FORMAT,
        **facts,
        "members": {name: [len(view), digests[name]] for name, view in views},
    }
    head = dumps(manifest, sort_keys=True).encode()
    found: list[Bytes] = []
    for name, view in [(MANIFEST, memoryview(head)), *views]:
        info = tarfile.TarInfo(name)
        info.size = len(view)
        info.mode = 0o600
        found += [
            info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"),
            view,
            bytes(-len(view) % tarfile.BLOCKSIZE),
        ]
    ended = sum(map(len, found)) + 2 * tarfile.BLOCKSIZE
    found.append(bytes(2 * tarfile.BLOCKSIZE + -ended % tarfile.RECORDSIZE))
    return head, [piece for piece in found if len(piece)]


def dump(
    obj: object, pickler: Callable[[BinaryIO, Callable[[pickle.PickleBuffer], Any]], Any]
) -> list[tuple[str, Bytes]]:
    """Return the members that hold `obj`.

    Parameters
    ----------
    obj : object
    pickler : callable
        ``pickler(file, buffer_callback)`` gives a pickler of protocol 5 (cloudpickle's, say).
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    pickler(stream, buffers.append).dump(obj)
    # Not getbuffer(): collected together with its stream it makes CPython 3.14 complain on stderr. Neither copies.
    members: list[tuple[str, Bytes]] = [(PICKLE, stream.getvalue())]
    members += [(f"{BUFFERS}{index:06d}", buffer.raw()) for index, buffer in enumerate(buffers)]
    return members


class Archive:
    """An archive in memory, usually a private memory map of a file.

    Parameters
    ----------
    data : bytes-like
        The whole archive. If it is writable, so are the arrays that are made of its buffers.

    Raises
    ------
    ArchiveError
        When it is not an archive of this format.
    """

    def __init__(self, data: Bytes | mmap.mmap) -> None:
        self._view = memoryview(data)
        self._places: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(fileobj=_Window(self._view), mode="r:") as tar:
                for info in tar:
                    self._places[info.name] = (info.offset_data, info.size)
            self.manifest: dict[str, Any] = loads(bytes(self.member(MANIFEST)))
        except (tarfile.TarError, KeyError, ValueError) as error:
            raise ArchiveError(f"not a t2notebook archive: {error}") from None
        if self.manifest.get("format") != FORMAT:
            raise ArchiveError(f"archive format {self.manifest.get('format')!r} is not {FORMAT}")

    @classmethod
    def open(cls, file: str | os.PathLike[str] | int) -> Archive:
        """Map a file (by path or descriptor) privately: writes to its arrays stay in this process.

        Raises
        ------
        ArchiveError
            When it is none, or is damaged.
        """
        if not isinstance(file, int):
            with open(file, "rb") as stream:
                return cls.open(stream.fileno())
        try:
            return cls(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
        except ValueError as error:  # an empty file
            raise ArchiveError(f"not a t2notebook archive: {error}") from None

    @classmethod
    def read_manifest(cls, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return the manifest of a file, of which nothing else is looked at.

        Raises
        ------
        ArchiveError
            When it is none of an archive.
        OSError
        """
        with open(path, "rb") as stream:
            return _manifest(stream)

    @classmethod
    def manifest_of(cls, data: Bytes) -> dict[str, Any]:
        """Return the manifest of an archive in memory, as `read_manifest` does of a file.

        Raises
        ------
        ArchiveError
        """
        return _manifest(io.BytesIO(data))

    @property
    def digest(self) -> str:
        """Hex sha256 of the manifest."""
        return hashlib.sha256(self.member(MANIFEST)).hexdigest()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def member(self, name: str) -> memoryview:
        """Return the bytes of a member, where they lie.

        Raises
        ------
        KeyError
            When there is no such member.
        """
        offset, size = self._places[name]
        return self._view[offset : offset + size]

    def verify(self, digest: str) -> None:
        """Check every byte against `digest`, before anything is unpickled.

        Raises
        ------
        ArchiveError
            When the manifest or a member is not what the digest stands for.
        """
        if self.digest != digest:
            raise ArchiveError("the archive's manifest does not match its digest")
        listed = self.manifest.get("members", {})
        if set(listed) != set(self._places) - {MANIFEST}:
            raise ArchiveError("the archive's members are not those of its manifest")
        for name, (size, sha256) in listed.items():
            view = self.member(name)
            if len(view) != size or hashlib.sha256(view).hexdigest() != sha256:
                raise ArchiveError(f"member {name} of the archive is damaged")

    def load(self, main: dict[str, Any] | None = None, pickled: str = PICKLE, buffers: str = BUFFERS) -> Any:
        """Unpickle the object; its large buffers stay where they lie.

        Classes that this process already has stay as they are.

        Parameters
        ----------
        main : dict, optional
            To become the globals of the notebook's functions.
        pickled, buffers : str
            The member that has the pickle, and what the names of its buffers begin with.
        """
        names = sorted(name for name in self._places if name.startswith(buffers))
        return unpickle(self.member(pickled), [self.member(name) for name in names], main)


def _manifest(stream: BinaryIO) -> dict[str, Any]:
    try:
        info = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        manifest = loads(stream.read(info.size)) if info.name == MANIFEST else None
    except (tarfile.TarError, ValueError) as error:
        raise ArchiveError(f"not a t2notebook archive: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError("not a t2notebook archive of this format")
    return manifest


def unpickle(pickled: Bytes, buffers: Sequence[Bytes], main: dict[str, Any] | None = None) -> Any:
    """Return the object of a pickle and its buffers, as `Archive.load` does.

    Parameters
    ----------
    pickled : bytes-like
    buffers : sequence of bytes-like
    main : dict, optional
        Names that the pickle finds in ``__main__``.
    """
    return _Unpickler(memoryview(pickled), buffers, main).load()


class _Unpickler(pickle.Unpickler):
    """Gives the notebook's functions the globals that they are to have."""

    def __init__(self, pickled: memoryview, buffers: Sequence[Bytes], main: dict[str, Any] | None) -> None:
        super().__init__(io.BufferedReader(_Window(pickled), 1 << 16), buffers=buffers)
        self._main = main
        #: The namespace whose functions get `main`: that of the first function.
        self._notebook: dict[str, Any] | None = None

    def find_class(self, module: str, name: str) -> Any:
        """Return a global, or what stands in for `make_function`."""
        found = super().find_class(module, name)
        return self._make_function if found is make_function and self._main is not None else found

    def _make_function(self, code: Any, namespace: dict[str, Any], *more: Any) -> Any:
        if self._notebook is None and namespace.get("__name__") == "__main__":
            self._notebook = namespace
            assert self._main is not None
            self._main.update(namespace)
        if namespace is self._notebook and self._main is not None:
            namespace = self._main
        return make_function(code, namespace, *more)


class _Window(io.RawIOBase):
    """A seekable read-only file over a memoryview."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, target: Any) -> int:
        into = memoryview(target).cast("B")
        piece = self._view[self._at : self._at + len(into)]
        into[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._at + size
        piece = bytes(self._view[self._at : end])
        self._at += len(piece)
        return piece

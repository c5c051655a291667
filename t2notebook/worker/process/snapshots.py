"""Snapshots of variables: a file with their raw bytes, and a manifest that is written last and is the commit.

A crash at any byte leaves the last complete version. Large buffers (NumPy arrays) are written from where they lie and
read to where they are to lie, without another copy.

Names of files have the worker's incarnation in them, and each incarnation notes from which version it went on. So one
that has been replaced, and does not know it yet, neither overwrites nor removes what its successor writes, and what it
still commits does not count.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...model.errors import CheckpointError
from ...protocol.archive import unpickle
from ...protocol.pickling import ResultPickler
from . import checksums
from .checkpoint_files import CHUNK, Files, Piece

FORMAT = 2
_MANIFEST = re.compile(r"v(\d{8})-(\d+)\.json")
#: ``member-INCARNATION``, then, as soon as that is known, the version that it went on from.
_MEMBER = re.compile(r"member-(\d+)(?:-(from|new)-(\d{8}))?\.json")


class Snapshots:
    """The versions of one worker's variables, in a folder.

    Parameters
    ----------
    files : Files
    folder : str
    incarnation : int
        The one that writes.
    """

    def __init__(self, files: Files, folder: str, incarnation: int = 0) -> None:
        self._files, self._folder, self._incarnation = files, folder, incarnation

    def begin(self) -> None:
        """Have the family know of this worker."""
        self._files.write(f"{self._folder}/member-{self._incarnation}.json", [b"{}"])

    def go_on_from(self, version: int, is_new: bool = False) -> None:
        """Note the version that this incarnation goes on from: what older ones have committed after that is void.

        Parameters
        ----------
        version : int
        is_new : bool
            Whether it is a new member, to whom nothing of an older incarnation belongs.
        """
        how = "new" if is_new else "from"
        name = f"member-{self._incarnation}-{how}-{version:08d}.json"
        self._files.write(f"{self._folder}/{name}", [b"{}"])
        for other in self._files.names(self._folder):
            found = _MEMBER.fullmatch(other)
            if found and int(found[1]) == self._incarnation and other != name and found[2]:
                self._files.remove(f"{self._folder}/{other}")

    def history(self) -> tuple[dict[int, int], int]:
        """Return the complete versions that count, with the incarnation that made each, and the version that the last
        new member of this id began with.
        """
        made: dict[int, list[int]] = {}
        starts: dict[int, tuple[str, int]] = {}
        for name in self._files.names(self._folder):
            if found := _MANIFEST.fullmatch(name):
                made.setdefault(int(found[2]), []).append(int(found[1]))
            elif (found := _MEMBER.fullmatch(name)) and found[2]:
                starts[int(found[1])] = found[2], int(found[3])
        versions: dict[int, int] = {}
        first = 0
        for incarnation in sorted({*made, *starts}):
            how, base = starts.get(incarnation, ("", 0))
            if how == "new":
                versions, first = {}, base
            elif how:
                versions = {version: who for version, who in versions.items() if version <= base}
            versions |= dict.fromkeys(made.get(incarnation, ()), incarnation)
        return versions, first

    def versions(self) -> list[int]:
        """Return the complete versions that count, oldest first."""
        return sorted(self.history()[0])

    def latest(self) -> int:
        """Return the last version, 0 if there is none; of a new member that has committed nothing, where it began."""
        versions, first = self.history()
        return max(versions, default=first)

    def save(self, version: int, values: Mapping[str, Any], **facts: Any) -> None:
        """Write a version.

        Raises
        ------
        CheckpointError
            When a value cannot be pickled.
        OSError
        """
        parts = {
            name: [memoryview(piece).cast("B") for piece in _pickled(name, value)]
            for name, value in values.items()
        }
        everything = [piece for pieces in parts.values() for piece in pieces]
        sums = [0] * len(everything)
        kind = checksums.choose()
        add = checksums.of_kind(kind)

        def sum_up(number: int, chunk: memoryview) -> None:
            sums[number] = add(chunk, sums[number])

        file = f"{self._folder}/{_name(version, self._incarnation)}"
        self._files.write(f"{file}.data", everything, sum_up)
        found = iter(sums)
        index = {name: [[len(piece), next(found)] for piece in pieces] for name, pieces in parts.items()}
        manifest = {"format": FORMAT, "version": version, "sums": kind, "variables": index, **facts}
        self._files.write(f"{file}.json", [json.dumps(manifest).encode()])

    def load(self, version: int) -> dict[str, Any]:
        """Return the values of a version.

        Raises
        ------
        CheckpointError
            When it is damaged.
        OSError
        """
        name = f"{self._folder}/{_name(version, self.history()[0][version])}"
        manifest = json.loads(self._files.read(f"{name}.json"))
        if manifest.get("format") != FORMAT:
            raise CheckpointError(f"checkpoint {version} was written by another version of t2notebook")
        try:
            add = checksums.of_kind(manifest.get("sums", checksums.CRC))
        except ValueError as error:
            raise CheckpointError(f"checkpoint {version} has {error}; another t2notebook wrote it") from None
        values: dict[str, Any] = {}
        with self._files.open(f"{name}.data") as file:
            for name, places in manifest["variables"].items():
                pieces = [self._read(file, size, crc, version, add) for size, crc in places]
                values[name] = unpickle(bytes(pieces[0]), pieces[1:], _main())
        return values

    def facts(self, version: int) -> Mapping[str, Any]:
        """Return the manifest of a version."""
        name = f"{self._folder}/{_name(version, self.history()[0][version])}.json"
        facts: Mapping[str, Any] = json.loads(self._files.read(name))
        return facts

    def remove(self, version: int) -> None:
        """Remove a version that this incarnation or an older one has made; its manifest first."""
        for incarnation in range(self._incarnation + 1):
            name = f"{self._folder}/{_name(version, incarnation)}"
            self._files.remove(f"{name}.json")
            self._files.remove(f"{name}.data")

    def _read(self, file: Any, size: int, crc: int, version: int, add: checksums.Sum) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = file.readinto(view)
            if not count:
                raise CheckpointError(f"checkpoint {version} in {self._folder} is not whole")
            view = view[count:]
        found, whole = 0, memoryview(data)
        for begin in range(0, size, CHUNK):
            found = add(whole[begin : begin + CHUNK], found)
        if found != crc:
            raise CheckpointError(f"checkpoint {version} in {self._folder} is damaged")
        return data


def _name(version: int, incarnation: int) -> str:
    return f"v{version:08d}-{incarnation}"


def _main() -> dict[str, Any]:
    import sys

    return vars(sys.modules["__main__"])


def _pickled(name: str, value: Any) -> Sequence[Piece]:
    """Return the pickle of a value, and its large buffers."""
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    try:
        ResultPickler(stream, buffers.append).dump(value)
    except Exception as error:
        raise CheckpointError(f"the variable {name!r} cannot be pickled: {error}") from error
    return [stream.getvalue(), *(buffer.raw() for buffer in buffers)]

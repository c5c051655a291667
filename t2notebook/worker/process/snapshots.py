"""Snapshots of variables: a file with their raw bytes, and a manifest that is written last and is the commit.

A crash at any byte leaves the last complete version. Large buffers (NumPy arrays) are written from where they lie and
read to where they are to lie, without another copy.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...model.errors import CheckpointError
from ...protocol.archive import unpickle
from ...protocol.pickling import ResultPickler
from .checkpoint_files import Files, Piece

FORMAT = 1
_MANIFEST = re.compile(r"v(\d{8})\.json")


class Snapshots:
    """The versions of one worker's variables, in a folder.

    Parameters
    ----------
    files : Files
    folder : str
    """

    def __init__(self, files: Files, folder: str) -> None:
        self._files, self._folder = files, folder

    def versions(self) -> list[int]:
        """Return the complete versions, oldest first."""
        found = (_MANIFEST.fullmatch(name) for name in self._files.names(self._folder))
        return [int(one[1]) for one in found if one]

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
        index: dict[str, list[list[int]]] = {}

        def sum_up() -> None:
            for name, pieces in parts.items():
                index[name] = [[len(piece), zlib.crc32(piece)] for piece in pieces]

        everything = [piece for pieces in parts.values() for piece in pieces]
        # Summed up while the disk works, as both take about as long.
        self._files.write(f"{self._folder}/{_data(version)}", everything, sum_up)
        manifest = {"format": FORMAT, "version": version, "variables": index, **facts}
        self._files.write(f"{self._folder}/v{version:08d}.json", [json.dumps(manifest).encode()])

    def load(self, version: int) -> dict[str, Any]:
        """Return the values of a version.

        Raises
        ------
        CheckpointError
            When it is damaged.
        OSError
        """
        manifest = json.loads(self._files.read(f"{self._folder}/v{version:08d}.json"))
        if manifest.get("format") != FORMAT:
            raise CheckpointError(f"checkpoint {version} was written by another version of t2notebook")
        values: dict[str, Any] = {}
        with self._files.open(f"{self._folder}/{_data(version)}") as file:
            for name, places in manifest["variables"].items():
                pieces = [self._read(file, size, crc, version) for size, crc in places]
                values[name] = unpickle(bytes(pieces[0]), pieces[1:], _main())
        return values

    def remove(self, version: int) -> None:
        """Remove a version; its manifest first."""
        self._files.remove(f"{self._folder}/v{version:08d}.json")
        self._files.remove(f"{self._folder}/{_data(version)}")

    def _read(self, file: Any, size: int, crc: int, version: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = file.readinto(view)
            if not count:
                raise CheckpointError(f"checkpoint {version} in {self._folder} is not whole")
            view = view[count:]
        if zlib.crc32(data) != crc:
            raise CheckpointError(f"checkpoint {version} in {self._folder} is damaged")
        return data


def _data(version: int) -> str:
    return f"v{version:08d}.data"


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

"""What must survive a process's death: a small keyed store in one append-only file, one JSON record a line.

Nothing is synced to the disk: a killed process loses nothing of what it wrote, and after a machine's crash no
executor is left that there would be anything to know about.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

Key = tuple[str, ...]

_SLACK = 1000
"""So many records beyond the living ones are borne before the file is written anew."""


class Checkpoint:
    """A store that lives in a file.

    Parameters
    ----------
    path
        Made when the first record is put; its directory, too. Only its owner may read it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._values: dict[Key, Any] = {}
        self._records = 0
        self._file: int | None = None
        self._load()

    def put(self, key: Key, value: Any) -> None:
        """Set a value; None removes it."""
        if value is None:
            if self._values.pop(key, None) is None:
                return
        else:
            self._values[key] = value
        if self._file is None:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _write(self._file, _record(key, value))
        self._records += 1
        if self._records > 2 * len(self._values) + _SLACK:
            self.compact()

    def get(self, *key: str) -> Any:
        """Give a value, or None."""
        return self._values.get(key)

    def under(self, *prefix: str) -> Iterator[tuple[Key, Any]]:
        """Give all values whose keys begin so, with the rest of their keys, in the order of their first put."""
        length = len(prefix)
        for key, value in list(self._values.items()):
            if key[:length] == prefix:
                yield key[length:], value

    def clear(self) -> None:
        """Remove everything."""
        self._values.clear()
        self.compact()

    def compact(self) -> None:
        """Write the file anew, with nothing but the living records."""
        fresh = f"{self._path}.new"
        target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _write(target, b"".join(_record(key, value) for key, value in self._values.items()))
        os.replace(fresh, self._path)
        if self._file is not None:
            os.close(self._file)
        self._file, self._records = target, len(self._values)

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            try:
                *key, value = json.loads(line)
            except ValueError:
                continue  # the record that its writer was killed in
            if value is None:
                self._values.pop(tuple(key), None)
            else:
                self._values[tuple(key)] = value
        self._records = len(lines)
        if lines:
            self.compact()


def _record(key: Key, value: Any) -> bytes:
    return json.dumps([*key, value], separators=(",", ":")).encode() + b"\n"


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

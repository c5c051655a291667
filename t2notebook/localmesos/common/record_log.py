"""A small keyed store that survives its process: one append-only file, one JSON record a line.

Nothing is synced to the disk: a killed process loses nothing of what it wrote, and after a machine's crash no
executor is left that there would be anything to know about.

A disk that is full, or otherwise refuses, never stops whoever puts a value: what could not be written is kept, and
written as soon as it can be; until then `trouble` says why.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

log = logging.getLogger(__name__)

Key = tuple[str, ...]

_SLACK = 1000
"""Records beyond the living ones after which the file is written anew."""


class Checkpoint:
    """A store that lives in a file.

    Parameters
    ----------
    path
        Made when the first record is put; its directory, too. Only its owner may read it.

    Attributes
    ----------
    path
    trouble
        Why values are not written yet; empty while all are.

    Raises
    ------
    OSError
        There is a file that cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._values: dict[Key, Any] = {}
        self._unwritten: dict[Key, None] = {}
        self._records = 0
        self._most = _SLACK
        self._is_cut = False
        self._file: int | None = None
        self.trouble = ""
        self._load()

    def put(self, key: Key, value: Any) -> None:
        """Set a value; None removes it."""
        if value is None:
            if self._values.pop(key, None) is None:
                return
        else:
            self._values[key] = value
        self._unwritten[key] = None
        self._write_down()

    def get(self, *key: str) -> Any:
        """Give a value, or None."""
        return self._values.get(key)

    def under(self, *prefix: str) -> Iterator[tuple[Key, Any]]:
        """Give all values whose keys begin so, with the rest of their keys, in the order of their first put."""
        length = len(prefix)
        for key, value in list(self._values.items()):
            if key[:length] == prefix:
                yield key[length:], value

    def close(self) -> None:
        """Close the file, as far as it is open; another put opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def clear(self) -> None:
        """Remove everything."""
        self._values.clear()
        self._unwritten.clear()
        if not self._try(self.compact):
            # This needs no room.
            with contextlib.suppress(OSError):
                os.truncate(self.path, 0)

    def mend(self) -> None:
        """Write what could not be written before, and a file that somebody removed; called now and then."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            log.warning("%s was removed, and is written anew", self.path)
            self._try(self.compact)
        elif self._unwritten:
            self._write_down()

    def compact(self) -> None:
        """Write the file anew, with nothing but the living records.

        Raises
        ------
        OSError
            It cannot be; the old one stays.
        """
        fresh = f"{self.path}.new"
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(target, b"".join(_record(key, value) for key, value in self._values.items()))
            os.replace(fresh, self.path)
        except BaseException:
            os.close(target)
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._records = target, len(self._values)
        self._unwritten.clear()
        self._is_cut = False
        self._most = 2 * self._records + _SLACK

    def _write_down(self) -> None:
        if not self._try(self._append):
            return
        if self._records > self._most:
            self._most = 2 * self._records  # should it fail, not to be tried at every record
            self._try(self.compact)

    def _try(self, write: Any) -> bool:
        try:
            write()
        except OSError as error:
            if not self.trouble:
                log.error(
                    "cannot write %s: %s; it is written as soon as it can be", self.path, error.strerror
                )
            self.trouble = error.strerror or str(error)
            return False
        if self.trouble and not self._unwritten:
            log.warning("%s is written again", self.path)
            self.trouble = ""
        return True

    def _append(self) -> None:
        if self._file is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
        while self._unwritten:
            key = next(iter(self._unwritten))
            before = b"\n" if self._is_cut else b""
            self._is_cut = True
            _write(self._file, before + _record(key, self._values.get(key)))
            self._is_cut = False
            del self._unwritten[key]
            self._records += 1

    def _load(self) -> None:
        try:
            with open(self.path, "rb") as file:
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
        self._is_cut = bool(lines) and not lines[-1].endswith(b"\n")
        if lines:
            self._try(self.compact)


def _record(key: Key, value: Any) -> bytes:
    return json.dumps([*key, value], separators=(",", ":")).encode() + b"\n"


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

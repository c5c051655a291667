"""Buffers for a pickler: small pieces joined, large ones kept where they are, so that nothing is copied."""

from __future__ import annotations

import io
import os
import pickle
import time

#: Buffers from this size on lie beside the pickle, in members of their own. It is also where the C pickler
#: begins to hand over bytes without copying them (FRAME_SIZE_TARGET).
LARGE = 64 * 1024


class Sink:
    """The file that a pickler of protocol 5 writes to, and its `buffer_callback`, `add`.

    The C pickler hands large bytes and bytearrays to `write` as they are, after the header of an in-band
    opcode. Here they become out-of-band buffers instead, so that nothing is copied.
    """

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._tail = b""
        self._large = 0
        self.buffers: list[pickle.PickleBuffer] = []

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._stream.tell() + self._large

    @property
    def pickled(self) -> bytes:
        """The pickle itself; BytesIO shares it, so this is no copy either."""
        return self._stream.getvalue()

    def add(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer out of band, unless it is small: then the answer is True, "keep it in band"."""
        size = buffer.raw().nbytes
        if size < LARGE:
            return True
        self._large += size
        self.buffers.append(buffer)
        return False

    def write(self, piece: bytes | bytearray) -> int:
        """Take what the pickler writes."""
        if len(piece) >= LARGE and (header := self._header_of(piece)):
            self._stream.seek(-header, os.SEEK_END)
            self._stream.truncate()
            # builtins.<type>(next buffer)
            kind = type(piece).__name__.encode()
            self._stream.write(b"\x8c\x08builtins\x8c" + bytes([len(kind)]) + kind + b"\x93\x97\x85R")
            self._tail = b""
            self.buffers.append(pickle.PickleBuffer(piece))
            self._large += len(piece)
        else:
            self._stream.write(piece)
            self._tail = bytes(piece[-9:])
        return len(piece)

    def _header_of(self, piece: bytes | bytearray) -> int:
        """Return the size of the opcode before `piece` if that announces it as a bytes-like object, else 0."""
        if piece[:1] == b"\x95" and int.from_bytes(piece[1:9], "little") <= len(piece) - 9:
            return 0  # a frame of the pickler's own, or something that looks like it
        size = len(piece).to_bytes(8, "little")
        if type(piece) is bytes:
            if self._tail.endswith(b"B" + size[:4]) and len(piece) < 1 << 32:
                return 5
            return 9 if self._tail.endswith(b"\x8e" + size) else 0
        return 9 if type(piece) is bytearray and self._tail.endswith(b"\x96" + size) else 0


class SearchTimeout(Exception):
    """The time of a `NullSink` is over."""


class NullSink(Sink):
    """Takes everything and keeps nothing.

    Parameters
    ----------
    until : float
        By `time.monotonic`; from then on, `write` raises `SearchTimeout`.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    def add(self, buffer: pickle.PickleBuffer) -> bool:
        """Drop a buffer."""
        return False

    def write(self, piece: bytes | bytearray) -> int:
        """Drop what the pickler writes."""
        if time.monotonic() > self._until:
            raise SearchTimeout
        return len(piece)

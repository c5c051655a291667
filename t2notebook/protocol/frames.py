"""Frames: messages cut into pieces, each piece with a proof of where it comes from and of its place in the order. Pure.

A message is a small record (JSON) and bytes. It goes over one of several streams: within a stream messages keep their
order, and streams take turns piece by piece, so that a large message holds up only those of its own stream. A frame is
``length (4 bytes) | stream (1) | flags (1) | piece | tag (16)``; the tag is an HMAC-SHA256 over the frame's number and
all of it but the length, cut to 128 bits. Nothing of a frame is looked at before its tag holds. Where the connection
itself proves who is there (a Unix socket of one user), frames have no tag.

The bytes of a message begin on a border of 16 bytes within it, so that arrays can be used where they lie.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.text import dumps, loads

#: Bytes of a message in one frame.
PIECE = 256 << 10
#: Bytes of a whole message, its record included.
MAX_MESSAGE = 64 << 20
#: How many streams there are.
STREAMS = 4
TAG = 16
_LENGTH, _NUMBER = struct.Struct(">I"), struct.Struct(">Q")
_HEAD = 2
_LAST = 1
#: The border on which the bytes of a message begin.
ALIGN = 16
#: Bytes of a message from which on they are not copied once more out of the whole.
_LARGE = 64 << 10

Bytes = bytes | bytearray | memoryview


class FrameError(ConnectionError):
    """The other side does not keep to the protocol, or cannot prove what it sent; the connection is of no use."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has come whole.

    Parameters
    ----------
    record : mapping
        What it is about.
    payload : bytes or memoryview
        Its bytes, which nothing here looks into; if they are many, where they came to lie, and writable.
    stream : int
        Over which it came.
    """

    record: Mapping[str, Any]
    payload: bytes | memoryview = b""
    stream: int = 0


class Seal:
    """Tags for the frames of one direction, by their numbers.

    Parameters
    ----------
    key : bytes
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.new(key, digestmod=hashlib.sha256)
        self._number = 0

    def next(self, *parts: bytes | memoryview) -> bytes:
        """Return the tag of the next frame."""
        code = self._key.copy()
        code.update(_NUMBER.pack(self._number))
        for part in parts:
            code.update(part)
        self._number += 1
        return code.digest()[:TAG]


@dataclass(slots=True)
class _Outgoing:
    """A message on its way: what is left of it."""

    data: deque[memoryview] = field(default_factory=deque)
    size: int = 0


class FrameWriter:
    """Messages in, frames out.

    Parameters
    ----------
    seal : Seal or None
        None: frames without tags.
    """

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal
        self._queues: dict[int, deque[_Outgoing]] = {}
        self.waiting = 0

    def put(self, record: Mapping[str, Any], payload: Bytes | Sequence[Bytes] = b"", stream: int = 0) -> None:
        """Queue a message; `waiting` grows by its bytes.

        Parameters
        ----------
        record : mapping
            JSON-ready.
        payload : bytes-like, or sequence of these
            Of a sequence, one after the other.
        stream : int
            Messages of one stream keep their order.

        Raises
        ------
        ValueError
            When it is larger than `MAX_MESSAGE`.
        """
        text = dumps(record).encode()
        given = [payload] if isinstance(payload, bytes | bytearray | memoryview) else payload
        views = [view for each in given if (view := memoryview(each).cast("B")).nbytes]
        if views:
            text += b" " * (-(_LENGTH.size + len(text)) % ALIGN)
        parts = deque([memoryview(_LENGTH.pack(len(text)) + text), *views])
        size = sum(map(len, parts))
        if size > MAX_MESSAGE:
            raise ValueError(f"a message has {size} bytes; {MAX_MESSAGE} are the most")
        self._queues.setdefault(stream, deque()).append(_Outgoing(parts, size))
        self.waiting += size

    def take(self) -> bytes:
        """Return the next frame, of the stream whose turn it is; empty when nothing waits."""
        if not self._queues:
            return b""
        stream, queue = next(iter(self._queues.items()))
        outgoing = queue[0]
        pieces, left = [], PIECE
        while left and outgoing.data:
            part = outgoing.data.popleft()
            if len(part) > left:
                outgoing.data.appendleft(part[left:])
                part = part[:left]
            pieces.append(part)
            left -= len(part)
        taken = PIECE - left
        outgoing.size -= taken
        self.waiting -= taken
        head = bytes((stream, 0 if outgoing.data else _LAST))
        if not outgoing.data:
            queue.popleft()
        del self._queues[stream]  # it goes to the end of the line
        if queue:
            self._queues[stream] = queue
        if self._seal is None:
            return b"".join((_LENGTH.pack(_HEAD + taken), head, *pieces))
        return b"".join((_LENGTH.pack(_HEAD + taken + TAG), head, *pieces, self._seal.next(head, *pieces)))


class FrameReader:
    """Bytes in, messages out.

    Parameters
    ----------
    seal : Seal or None
        None: frames without tags.
    """

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal
        self._tag = TAG if seal is not None else 0
        self._buffer = bytearray()
        self._parts: dict[int, bytearray] = {}
        self._sizes: dict[int, int] = {}

    def feed(self, data: Bytes) -> list[Message]:
        """Return the messages that are whole now.

        Raises
        ------
        FrameError
            When a tag does not hold (a frame that is forged, repeated, out of order or of another connection), or a
            length cannot be.
        """
        if self._buffer:
            self._buffer += data
            view = memoryview(self._buffer)
        else:
            view = memoryview(data)
        found: list[Message] = []
        begin = 0
        try:
            while len(view) - begin >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, begin)
                if not _HEAD + self._tag <= length <= _HEAD + PIECE + self._tag:
                    raise FrameError(f"a frame of {length} bytes")
                end = begin + _LENGTH.size + length
                if end > len(view):
                    break
                message = self._frame(view[begin + _LENGTH.size : end])
                if message is not None:
                    found.append(message)
                begin = end
            rest = bytearray(view[begin:]) if not self._buffer else None
        finally:
            view.release()
        if rest is not None:
            self._buffer = rest
        else:
            del self._buffer[:begin]
        return found

    def _frame(self, frame: memoryview) -> Message | None:
        body = frame
        if self._seal is not None:
            body = frame[:-TAG]
            if not hmac.compare_digest(self._seal.next(body), bytes(frame[-TAG:])):
                raise FrameError("a frame whose origin is not proved")
        stream, flags = body[0], body[1]
        if stream >= STREAMS:
            raise FrameError(f"a frame of stream {stream}")
        size = self._sizes[stream] = self._sizes.get(stream, 0) + len(body) - _HEAD
        if size > MAX_MESSAGE:
            raise FrameError(f"a message of more than {MAX_MESSAGE} bytes")
        if flags & _LAST:
            del self._sizes[stream]
            whole = self._parts.pop(stream, None) or bytearray()
            whole += body[_HEAD:]
            return _message(whole, stream)
        self._parts.setdefault(stream, bytearray()).extend(body[_HEAD:])
        return None


def _message(data: bytearray, stream: int) -> Message:
    try:
        (length,) = _LENGTH.unpack_from(data)
        record = loads(bytes(data[_LENGTH.size : _LENGTH.size + length]))
    except (struct.error, ValueError):
        raise FrameError("a message that cannot be read") from None
    if not isinstance(record, dict):
        raise FrameError("a message without a record")
    begin = _LENGTH.size + length
    payload = bytes(data[begin:]) if len(data) < _LARGE else memoryview(data)[begin:]
    return Message(record, payload, stream)

"""Frames: messages cut into pieces, each piece with a proof of where it comes from and of its place in the order. Pure.

A message is a small record (JSON) and bytes. It goes over one of several streams: within a stream messages keep their
order, and streams take turns piece by piece, so that a large message holds up only those of its own stream. A frame is
``length (4 bytes) | stream (1) | flags (1) | piece | tag (16)``; the tag is an HMAC-SHA256 over the frame's number and
all of it but the length, cut to 128 bits. Nothing of a message is looked at before the tags of its frames hold. Where
the connection itself proves who is there (a Unix socket of one user), frames have no tag.

The bytes of a message begin on a border of 16 bytes within it, so that arrays can be used where they lie. Small
messages of which there are many have a head of bytes instead of a record, whose meaning is the two sides' own: a record
would cost more than all else of them.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..model.text import dumps, loads

#: Bytes of a message in one frame.
PIECE = 256 << 10
#: Bytes of a whole message, its record included.
MAX_MESSAGE = 64 << 20
#: How many streams there are.
STREAMS = 4
TAG = 16
_LENGTH, _NUMBER = struct.Struct(">I"), struct.Struct(">Q")
#: A frame's length, stream and flags.
_HEADER = struct.Struct(">IBB")
_HEAD = 2
_LAST = 1
#: The border on which the bytes of a message begin.
ALIGN = 16
#: Stands in the length of a record that is a head.
_IS_HEAD = 1 << 31
#: Bytes of a message from which on they are not copied once more out of the whole, and up to which they are copied into
#: one piece at once.
_LARGE = 64 << 10

Bytes = bytes | bytearray | memoryview


class FrameError(ConnectionError):
    """The other side does not keep to the protocol, or cannot prove what it sent; the connection is of no use."""


class Message(NamedTuple):
    """A message that has come whole.

    Parameters
    ----------
    record : mapping
        What it is about.
    payload : bytes or memoryview
        Its bytes, which nothing here looks into; if they are many, where they came to lie, and writable.
    stream : int
        Over which it came.
    head : bytes
        Instead of a record, which is empty then.
    """

    record: Mapping[str, Any]
    payload: bytes | memoryview = b""
    stream: int = 0
    head: bytes = b""


class Seal:
    """Tags for the frames of one direction, by their numbers.

    Parameters
    ----------
    key : bytes
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.new(key, digestmod=hashlib.sha256)
        self._number = 0

    def whole(self, frame: bytes | memoryview) -> bytes:
        """Return the tag of the next frame, of which all is there."""
        code = self._key.copy()
        code.update(_NUMBER.pack(self._number) + frame)
        self._number += 1
        tag: bytes = code.digest()[:TAG]
        return tag

    def next(self, *parts: bytes | memoryview) -> bytes:
        """Return the tag of the next frame."""
        code = self.begin()
        for part in parts:
            code.update(part)
        tag: bytes = code.digest()[:TAG]
        return tag

    def begin(self, head: bytes | memoryview = b"") -> Any:
        """Return what takes the next frame's bytes, after its head, and gives its tag as the beginning of a digest."""
        code = self._key.copy()
        code.update(_NUMBER.pack(self._number))
        code.update(head)
        self._number += 1
        return code


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
        self._queues: dict[int, deque[_Outgoing | bytes]] = {}
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
        given = (payload,) if isinstance(payload, bytes | bytearray | memoryview) else payload
        size = sum([each.nbytes if isinstance(each, memoryview) else len(each) for each in given])
        if size:
            text += b" " * (-(_LENGTH.size + len(text)) % ALIGN)
        size += _LENGTH.size + len(text)
        if size > MAX_MESSAGE:
            raise ValueError(f"a message has {size} bytes; {MAX_MESSAGE} are the most")
        message: _Outgoing | bytes
        if size < _LARGE:
            message = b"".join((_LENGTH.pack(len(text)), text, *given))
        else:
            views = [memoryview(each).cast("B") for each in given if memoryview(each).nbytes]
            message = _Outgoing(deque([memoryview(_LENGTH.pack(len(text)) + text), *views]), size)
        if (queue := self._queues.get(stream)) is None:
            queue = self._queues[stream] = deque()
        queue.append(message)
        self.waiting += size

    def put_head(self, head: bytes, payload: bytes, stream: int = 0) -> None:
        """Queue a small message that has a head instead of a record; `waiting` grows by its bytes.

        Parameters
        ----------
        head : bytes
        payload : bytes
        stream : int
            Messages of one stream keep their order.
        """
        message = _LENGTH.pack(_IS_HEAD | len(head)) + head + payload
        if (queue := self._queues.get(stream)) is None:
            queue = self._queues[stream] = deque()
        queue.append(message)
        self.waiting += len(message)

    def frame_of(self, head: bytes, payload: bytes, stream: int = 0) -> bytes:
        """Return the frame of such a message at once, past what waits on other streams.

        Parameters
        ----------
        head : bytes
        payload : bytes
        stream : int
            Messages of one stream keep their order.

        Raises
        ------
        ValueError
            When others of its stream wait.
        """
        if stream in self._queues:
            raise ValueError("messages of one stream keep their order")
        return self._small_frame(stream, _LENGTH.pack(_IS_HEAD | len(head)) + head + payload)

    def take(self) -> bytes:
        """Return the next frame, of the stream whose turn it is; empty when nothing waits."""
        if not self._queues:
            return b""
        stream, queue = next(iter(self._queues.items()))
        outgoing = queue[0]
        if isinstance(outgoing, bytes):
            queue.popleft()
            self._take_turns(stream, queue)
            self.waiting -= len(outgoing)
            return self._small_frame(stream, outgoing)
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
        if not outgoing.data:
            queue.popleft()
        self._take_turns(stream, queue)
        head = bytes((stream, 0 if outgoing.data else _LAST))
        if self._seal is None:
            return b"".join((_LENGTH.pack(_HEAD + taken), head, *pieces))
        return b"".join((_LENGTH.pack(_HEAD + taken + TAG), head, *pieces, self._seal.next(head, *pieces)))

    def _take_turns(self, stream: int, queue: deque[_Outgoing | bytes]) -> None:
        if len(self._queues) > 1 or not queue:
            del self._queues[stream]  # it goes to the end of the line
            if queue:
                self._queues[stream] = queue

    def _small_frame(self, stream: int, message: bytes) -> bytes:
        if self._seal is None:
            return _HEADER.pack(_HEAD + len(message), stream, _LAST) + message
        frame = _HEADER.pack(_HEAD + len(message) + TAG, stream, _LAST) + message
        return frame + self._seal.whole(frame[_LENGTH.size :])


@dataclass(slots=True)
class _Incoming:
    """A frame of which a part has come: what is left of its bytes, and the code that proves it."""

    stream: int
    flags: int
    left: int
    code: Any


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
        self._buffer = b""
        self._incoming: _Incoming | None = None
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
            data = b"".join((self._buffer, data))
            self._buffer = b""
        found: list[Message] = []
        with memoryview(data) as view:
            begin = 0
            while (used := self._take(view[begin:], found)) is not None:
                begin += used
            self._buffer = bytes(view[begin:])
        return found

    def _take(self, view: memoryview, found: list[Message]) -> int | None:
        """Take what has come of the next frame; return how many bytes were used, None when more are to come first."""
        if self._incoming is not None:
            return self._go_on(self._incoming, view, found)
        if len(view) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(view)
        if not _HEAD + self._tag <= length <= _HEAD + PIECE + self._tag:
            raise FrameError(f"a frame of {length} bytes")
        size = length - _HEAD - self._tag
        if len(view) < _LENGTH.size + (length if size < _LARGE else _HEAD):
            return None
        if size < _LARGE:
            self._take_small(view[_LENGTH.size : _LENGTH.size + length], found)
            return _LENGTH.size + int(length)
        # Where it comes to lie at once, so that it is copied once; it counts when its tag holds.
        head = view[_LENGTH.size : _LENGTH.size + _HEAD]
        code = self._seal.begin(head) if self._seal is not None else None
        self._incoming = _Incoming(head[0], head[1], size, code)
        if head[0] >= STREAMS:
            self._incoming.stream = -1  # which is said when it is known whose it is
        elif self._sizes.get(head[0], 0) + size > MAX_MESSAGE:
            raise FrameError(f"a message of more than {MAX_MESSAGE} bytes")
        return _LENGTH.size + _HEAD

    def _take_small(self, frame: memoryview, found: list[Message]) -> None:
        """Take a frame that has come whole."""
        body = frame
        if self._seal is not None:
            body = frame[:-TAG]
            if not hmac.compare_digest(self._seal.whole(body), bytes(frame[-TAG:])):
                raise FrameError("a frame whose origin is not proved")
        stream, flags = body[0], body[1]
        if stream >= STREAMS:
            raise FrameError(f"a frame of stream {stream}")
        size = self._sizes.get(stream, 0) + len(body) - _HEAD
        if size > MAX_MESSAGE:
            raise FrameError(f"a message of more than {MAX_MESSAGE} bytes")
        if flags & _LAST and stream not in self._parts:
            found.append(_message(bytes(body[_HEAD:]), stream))
            return
        whole = self._parts.pop(stream, None) or bytearray()
        whole += body[_HEAD:]
        if flags & _LAST:
            self._sizes.pop(stream, None)
            found.append(_message(whole, stream))
        else:
            self._parts[stream], self._sizes[stream] = whole, size

    def _go_on(self, incoming: _Incoming, view: memoryview, found: list[Message]) -> int | None:
        """Take what has come of a frame whose head is known."""
        stream, body = incoming.stream, view[: incoming.left]
        if body:
            if incoming.code is not None:
                incoming.code.update(body)
            if stream not in self._parts:
                self._parts[stream] = bytearray(body)
            else:
                self._parts[stream] += body
            self._sizes[stream] = self._sizes.get(stream, 0) + len(body)
            incoming.left -= len(body)
        if incoming.left or len(view) < len(body) + self._tag:
            return len(body) or None
        if incoming.code is not None:
            tag = bytes(view[len(body) : len(body) + TAG])
            if not hmac.compare_digest(incoming.code.digest()[:TAG], tag):
                raise FrameError("a frame whose origin is not proved")
        if stream < 0:
            raise FrameError("a frame of a stream that there is not")
        self._incoming = None
        if incoming.flags & _LAST:
            self._sizes.pop(stream, None)
            found.append(_message(self._parts.pop(stream, bytearray()), stream))
        return len(body) + self._tag


def _message(data: bytes | bytearray, stream: int) -> Message:
    try:
        (length,) = _LENGTH.unpack_from(data)
        if length & _IS_HEAD:
            begin = _LENGTH.size + (length ^ _IS_HEAD)
            return Message({}, bytes(data[begin:]), stream, bytes(data[_LENGTH.size : begin]))
        record = loads(data[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, ValueError):
        raise FrameError("a message that cannot be read") from None
    if not isinstance(record, dict):
        raise FrameError("a message without a record")
    begin = _LENGTH.size + length
    payload = bytes(data[begin:]) if len(data) < _LARGE else memoryview(data)[begin:]
    return Message(record, payload, stream)

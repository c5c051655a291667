"""The channel between a worker and its job master: both prove that they know the job's secret, then messages go both
ways. Pure: bytes in, messages and bytes out; whoever has the socket moves them.

The worker opens the connection and speaks first, so that a server with a full backlog leaves nobody waiting for a
greeting. What it is (job, worker, incarnation) and a fresh number of either side go into the proofs and into the keys,
one a direction. There is no confidentiality here: who sees the wire sees what is sent, and can change nothing of it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..model.text import dumps, loads
from .frames import Bytes, FrameError, FrameReader, FrameWriter, Message, Seal

#: What a connection begins with: no method of HTTP does, which comes to the same port.
MAGIC = b"\x02T2\x01"
#: Bytes of a record of the handshake.
_MAX_HELLO = 32 << 10
_LENGTH = struct.Struct(">I")


class NotTrusted(FrameError):
    """The other side does not know the job's secret."""


class Channel:
    """One side of a connection, after and during the handshake; made by `connect` or `accept`.

    Attributes
    ----------
    is_open : bool
        Whether both have proved themselves: messages can be sent.
    hello : mapping
        What the worker says of itself; on the job master's side empty until it has been proved.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.hello: Mapping[str, Any] = {}
        self._out = bytearray()
        self._in = bytearray()
        self._writer: FrameWriter | None = None
        self._reader: FrameReader | None = None

    @property
    def waiting(self) -> int:
        """Bytes of messages that have not been taken."""
        return len(self._out) + (self._writer.waiting if self._writer is not None else 0)

    def send(
        self, record: Mapping[str, Any], payload: Bytes | Sequence[Bytes] = b"", stream: int = 0
    ) -> None:
        """Queue a message.

        Parameters
        ----------
        record : mapping
            JSON-ready.
        payload : bytes-like, or sequence of these
        stream : int
            Messages of one stream keep their order.

        Raises
        ------
        ValueError
            When it is too large.
        """
        assert self._writer is not None, "the handshake is not over"
        self._writer.put(record, payload, stream)

    def frame_of(self, head: bytes, payload: bytes, stream: int = 0) -> bytes:
        """Return the bytes of a small message with a head instead of a record, which are to be written next.

        Parameters
        ----------
        head : bytes
        payload : bytes
        stream : int
            Messages of one stream keep their order.
        """
        assert self._writer is not None, "the handshake is not over"
        return self._writer.frame_of(head, payload, stream)

    def take(self) -> bytes:
        """Return the bytes that are to be written next, a frame at the most; empty when nothing waits."""
        if self._out:
            out = bytes(self._out)
            self._out.clear()
            return out
        return self._writer.take() if self._writer is not None else b""

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """Take bytes from the other side, and return the messages that are whole.

        Raises
        ------
        FrameError
            The connection has to be closed.
        """
        if self._reader is not None:
            return self._reader.feed(data)
        self._in += data
        while self._reader is None and (record := self._record()) is not None:
            self._greet(record)
        if self._reader is None:
            return []
        rest = bytes(self._in)
        self._in.clear()
        return self._reader.feed(rest) if rest else []

    def _record(self) -> bytes | None:
        """Return the next record of the handshake, if it is whole."""
        if len(self._in) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._in)
        if length > _MAX_HELLO:
            raise FrameError(f"a greeting of {length} bytes")
        if len(self._in) < _LENGTH.size + length:
            return None
        record = bytes(self._in[_LENGTH.size : _LENGTH.size + length])
        del self._in[: _LENGTH.size + length]
        return record

    def _say(self, record: bytes) -> None:
        self._out += _LENGTH.pack(len(record)) + record

    def _greet(self, record: bytes) -> None:
        raise NotImplementedError

    def _open(self, secret: bytes, transcript: bytes, ours: bytes, theirs: bytes) -> None:
        self._writer = FrameWriter(Seal(_derive(secret, b"key " + ours, transcript)))
        self._reader = FrameReader(Seal(_derive(secret, b"key " + theirs, transcript)))
        self.is_open = True


class _Opener(Channel):
    """The worker's side."""

    def __init__(self, secret: str, hello: Mapping[str, Any]) -> None:
        super().__init__()
        self._secret = bytes.fromhex(secret)
        self.hello = hello
        self._hello = dumps({**hello, "nonce": secrets.token_hex(16)}).encode()
        self._out += MAGIC
        self._say(self._hello)

    def _greet(self, record: bytes) -> None:
        answer = _read(record)
        transcript = _transcript(self._hello, str(answer.get("nonce", "")))
        if not _proves(answer, self._secret, b"job master", transcript):
            raise NotTrusted("what answers there is not this job's job master")
        self._say(dumps({"proof": _derive(self._secret, b"worker", transcript).hex()}).encode())
        self._open(self._secret, transcript, b"worker", b"job master")


class _Acceptor(Channel):
    """The job master's side."""

    def __init__(self, secret_of: Callable[[str], str | None]) -> None:
        super().__init__()
        self._secret_of = secret_of
        self._claimed: Mapping[str, Any] | None = None
        self._secret = self._transcript = b""
        self._magic = len(MAGIC)

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """As `Channel.feed`; the connection begins with `MAGIC`."""
        if self._magic:
            self._in += data
            if len(self._in) < self._magic:
                return []
            if self._in[: self._magic] != MAGIC:
                raise FrameError("a connection that is none of ours")
            del self._in[: self._magic]
            self._magic, data = 0, b""
        return super().feed(data)

    def _greet(self, record: bytes) -> None:
        answer = _read(record)
        if self._claimed is None:
            # Of a job that nobody knows, the answer looks like any other, and proves nothing.
            known = self._secret_of(str(answer.get("job_id", "")))
            self._secret = bytes.fromhex(known) if known else secrets.token_bytes(32)
            nonce = secrets.token_hex(16)
            self._claimed, self._transcript = answer, _transcript(record, nonce)
            proof = _derive(self._secret, b"job master", self._transcript).hex()
            self._say(dumps({"nonce": nonce, "proof": proof}).encode())
            return
        if not _proves(answer, self._secret, b"worker", self._transcript):
            raise NotTrusted("a worker that does not know the job's secret")
        self.hello = self._claimed
        self._open(self._secret, self._transcript, b"job master", b"worker")


def connect(secret: str, hello: Mapping[str, Any]) -> Channel:
    """Return the side of a worker.

    Parameters
    ----------
    secret : str
        The job's, hex.
    hello : mapping
        ``job_id``, ``worker_id``, ``incarnation`` and what else the job master should know of it.
    """
    return _Opener(secret, hello)


def respond(secret_of: Callable[[str], str | None]) -> Channel:
    """Return the side of a job master.

    Parameters
    ----------
    secret_of : callable
        Gives the secret of a job by its id, None for one that is not known.
    """
    return _Acceptor(secret_of)


def _read(record: bytes) -> Mapping[str, Any]:
    try:
        read = loads(record)
    except ValueError:
        raise FrameError("a greeting that cannot be read") from None
    if not isinstance(read, dict):
        raise FrameError("a greeting that cannot be read")
    return read


def _transcript(hello: bytes, nonce: str) -> bytes:
    return hashlib.sha256(hashlib.sha256(hello).digest() + nonce.encode("utf-8", "replace")).digest()


def _derive(secret: bytes, label: bytes, transcript: bytes) -> bytes:
    return hmac.new(secret, b"t2notebook channel 1: " + label + b"\0" + transcript, hashlib.sha256).digest()


def _proves(answer: Mapping[str, Any], secret: bytes, label: bytes, transcript: bytes) -> bool:
    given = str(answer.get("proof", "")).encode("utf-8", "replace")
    return hmac.compare_digest(given, _derive(secret, label, transcript).hex().encode())

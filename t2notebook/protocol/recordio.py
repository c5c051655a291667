"""Sans-I/O decoding of an event stream: bytes in, records out (HTTP/1.1 chunks around Mesos's RecordIO).

A stream is ``length LF record length LF record ...`` (RecordIO), cut into HTTP chunks wherever it pleases the
sender, and into reads wherever it pleases the network. Sources: RFC 9112, section 7.1; Mesos,
``docs/recordio.md``.
"""

from __future__ import annotations

#: No event of an agent comes near this; a longer one is a broken stream.
MAX_RECORD = 256 * 1024 * 1024
_MAX_LINE = 4096


class FramingError(ValueError):
    """The bytes are no event stream."""


class ChunkDecoder:
    """Takes the chunks of a ``Transfer-Encoding: chunked`` body apart.

    Attributes
    ----------
    ended : bool
        Whether the last chunk has been seen.
    """

    def __init__(self) -> None:
        self.ended = False
        self._buffer = bytearray()
        self._missing = 0  # of the present chunk's data
        self._line_end = False  # the CRLF after a chunk's data is still to come

    def feed(self, data: bytes) -> bytes:
        """Return what of the body `data` completes.

        Raises
        ------
        FramingError
            When a chunk's size cannot be read.
        """
        self._buffer += data
        body = bytearray()
        while self._buffer and not self.ended:
            if self._missing:
                piece = self._buffer[: self._missing]
                del self._buffer[: len(piece)]
                self._missing -= len(piece)
                self._line_end = not self._missing
                body += piece
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > _MAX_LINE:
                    raise FramingError("a chunk's size line does not end")
                break
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            if self._line_end:
                if line:
                    raise FramingError("a chunk is longer than its size")
                self._line_end = False
                continue
            self._missing = _whole(line.partition(b";")[0].strip(), 16, "chunk")
            self.ended = not self._missing
        return bytes(body)


class RecordDecoder:
    """Takes RecordIO apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._missing = 0  # length of the record that is being read; 0 while its length is

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that `data` completes.

        Raises
        ------
        FramingError
            When a record's length cannot be read.
        """
        self._buffer += data
        records = []
        at = 0
        while True:
            if not self._missing:
                end = self._buffer.find(b"\n", at)
                if end < 0:
                    if len(self._buffer) - at > _MAX_LINE:
                        raise FramingError("a record's length line does not end")
                    break
                self._missing = _whole(bytes(self._buffer[at:end]), 10, "record")
                at = end + 1
                continue
            if len(self._buffer) - at < self._missing:
                break
            records.append(bytes(self._buffer[at : at + self._missing]))
            at += self._missing
            self._missing = 0
        del self._buffer[:at]
        return records


class EventDecoder:
    """Turns what arrives on a SUBSCRIBE connection after the headers into records.

    Parameters
    ----------
    chunked : bool
        Whether the response said ``Transfer-Encoding: chunked``; if not, RecordIO lies bare in the body.
    """

    def __init__(self, *, chunked: bool = True) -> None:
        self._chunks = ChunkDecoder() if chunked else None
        self._records = RecordDecoder()

    @property
    def ended(self) -> bool:
        """Whether the sender has ended the stream in good order."""
        return self._chunks is not None and self._chunks.ended

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that `data` completes; raises `FramingError`."""
        return self._records.feed(self._chunks.feed(data) if self._chunks is not None else data)


def _whole(digits: bytes, base: int, what: str) -> int:
    # int() would also take signs, underscores, spaces and 0x.
    try:
        if not digits.isalnum():
            raise ValueError
        value = int(digits, base)
    except ValueError:
        raise FramingError(f"{digits[:40]!r} is not the length of a {what}") from None
    if value > MAX_RECORD or (value == 0 and what == "record"):
        raise FramingError(f"a {what} of {value} bytes")
    return value

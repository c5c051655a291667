"""RecordIO: a length, a newline, then that many bytes: the framing of every Mesos v1 event stream."""

from __future__ import annotations

import json
from typing import Any

MAX_RECORD = 100 * 1024 * 1024


# An event is made of fresh dicts: there is no circle to look for.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


class RecordError(ValueError):
    """The bytes are not RecordIO."""


def encode(record: bytes) -> bytes:
    """Frame one record."""
    return b"%d\n" % len(record) + record


def encode_event(event: dict[str, Any]) -> bytes:
    """Frame an event, written as compactly as Mesos writes."""
    return encode(_ENCODER.encode(event).encode("utf-8", "replace"))


class Decoder:
    """Takes bytes in any pieces and gives whole records.

    Mesos sends one record as one chunk, but networks and proxies split and join them, so nothing here
    depends on the pieces. A fault is final: there is no way to find the next record's begin.
    """

    def __init__(self, max_record: int = MAX_RECORD) -> None:
        self._buffer = bytearray()
        self._wanted: int | None = None
        self._max = max_record
        self._failed: str | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; give the records that became complete.

        Raises
        ------
        RecordError
            A length that is no number, or greater than `max_record`; and ever after.
        """
        if self._failed is not None:
            raise RecordError(self._failed)
        self._buffer += data
        records: list[bytes] = []
        while True:
            if self._wanted is None:
                end = self._buffer.find(b"\n", 0, 21)
                if end < 0:
                    if len(self._buffer) > 20:
                        self._fail("Failed to decode length: no newline within 20 bytes")
                    return records
                head = bytes(self._buffer[:end])
                if not head.isdigit():
                    self._fail(f"Failed to decode length '{head.decode('latin-1')}'")
                self._wanted = int(head)
                if self._wanted > self._max:
                    self._fail(f"Record of {self._wanted} bytes is too long")
                del self._buffer[: end + 1]
            if len(self._buffer) < self._wanted:
                return records
            records.append(bytes(self._buffer[: self._wanted]))
            del self._buffer[: self._wanted]
            self._wanted = None

    def _fail(self, why: str) -> None:
        self._failed = why
        raise RecordError(why)

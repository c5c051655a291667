"""Checksums of what lies on a disk: against damage and writes that were cut off, not against people. Pure.

CRC-32 takes as long as copying what it sums up. Where NumPy is loaded (whoever has gigabytes has it), large pieces are
summed up a block at a time, in 64-bit words, and the CRC is that of the blocks' sums: ten times as fast, and a block
that is missing, elsewhere or not as it was shows all the same.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any

CRC, BLOCKS = "crc32", "blocks"
#: Bytes of a block; whoever sums up a piece in chunks takes a multiple of it.
BLOCK = 64 << 10

Sum = Callable[[memoryview, int], int]


def _crc(chunk: memoryview, before: int) -> int:
    return zlib.crc32(chunk, before)


def _with_numpy(numpy: Any) -> Sum:
    def sum_up(chunk: memoryview, before: int) -> int:
        whole = len(chunk) // BLOCK * BLOCK
        words = numpy.frombuffer(chunk[:whole], "<u8").reshape(-1, BLOCK // 8)
        sums = words.sum(axis=1, dtype="<u8")
        return zlib.crc32(chunk[whole:], zlib.crc32(sums.tobytes(), before))

    return sum_up


def _without_numpy(chunk: memoryview, before: int) -> int:
    whole = len(chunk) // BLOCK * BLOCK
    for begin in range(0, whole, BLOCK):
        words = chunk[begin : begin + BLOCK].cast("Q")
        if sys.byteorder == "big":
            words = memoryview(bytes(words)[::-1]).cast(
                "Q"
            )  # the order of words makes no difference to their sum
        before = zlib.crc32((sum(words) % (1 << 64)).to_bytes(8, "little"), before)
    return zlib.crc32(chunk[whole:], before)


def choose() -> str:
    """Return the kind of checksum that is the fastest here."""
    return BLOCKS if "numpy" in sys.modules else CRC


def of_kind(kind: str) -> Sum:
    """Return ``sum(chunk, before)``, which continues the sum of the chunks of a piece.

    Parameters
    ----------
    kind : str

    Raises
    ------
    ValueError
        For a kind that is not known.
    """
    if kind == CRC:
        return _crc
    if kind != BLOCKS:
        raise ValueError(f"a checksum of kind {kind!r}")
    try:
        import numpy
    except ImportError:
        return _without_numpy
    return _with_numpy(numpy)

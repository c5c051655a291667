"""Address of a job's session: written by the executor, read by its running workers, in memory that both share."""

from __future__ import annotations

import mmap
import zlib

_SIZE = 2048
#: Number, length and checksum of the text.
_NUMBER, _LENGTH, _SUM, _TEXT = slice(0, 8), slice(8, 12), slice(12, 16), 16


class SessionAddress:
    """An address that a process can change for those that it has forked.

    Anonymous shared memory: no file that others could write, no descriptor to be kept, nothing to clean up.

    Parameters
    ----------
    url : str
        ``http://host:port``, where the session is at first.
    """

    def __init__(self, url: str) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._last = (0, url)
        self.write(url, 0)

    def write(self, url: str, number: int) -> None:
        """Write the address down; `number` grows each time, also when the address is the same.

        Raises
        ------
        ValueError
            When the address is too long.
        """
        text = url.encode()
        if len(text) > _SIZE - _TEXT:
            raise ValueError("the address is too long")
        self._memory[_TEXT : _TEXT + len(text)] = text
        self._memory[_LENGTH] = len(text).to_bytes(4, "little")
        self._memory[_NUMBER] = number.to_bytes(8, "little")
        self._memory[_SUM] = _checksum(self._memory[_NUMBER], text)

    def read(self) -> tuple[int, str]:
        """Return the number and the address that were written last; while they are being written, those before."""
        length = int.from_bytes(self._memory[_LENGTH], "little")
        number, text = self._memory[_NUMBER], self._memory[_TEXT : _TEXT + length]
        if length <= _SIZE - _TEXT and self._memory[_SUM] == _checksum(number, text):
            self._last = int.from_bytes(number, "little"), text.decode()
        return self._last

    def close(self) -> None:
        """Give the memory back, in this process only."""
        self._memory.close()


def _checksum(number: bytes, text: bytes) -> bytes:
    return zlib.crc32(number + text).to_bytes(4, "little")

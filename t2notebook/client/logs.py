"""Logs of workers: read page by page, from the end where only that is wanted, and many workers' told apart."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

#: Seconds between two looks for more.
FOLLOW_PAUSE = 0.3
#: Bytes from the end that are read for a line of it, at first.
LINE_BYTES = 200
#: Workers whose output is read at once.
AT_ONCE = 8


class Output:
    """One stream of one worker.

    Parameters
    ----------
    worker_id : int
    page : callable
        ``page(offset)`` returns some bytes from there on and where they end; none at the end of the file. A
        negative offset counts from the end.
    is_over : callable
        Whether nothing more will be written.
    """

    def __init__(
        self, worker_id: int, page: Callable[[int], tuple[bytes, int]], is_over: Callable[[], bool]
    ) -> None:
        self.worker_id = worker_id
        self._page = page
        self._is_over = is_over
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, tail: int | None = None, follow: bool = False) -> Iterator[str]:
        """Yield pieces of text up to the end of the file; with `follow`, up to the worker's end.

        Parameters
        ----------
        tail : int, optional
            Only so many lines from the end of what is there now.
        follow : bool
        """
        if text := self.begin(tail):
            yield text
        while True:
            # First, so that what is written between the two looks is read in the next round.
            is_over = self._is_over()
            if text := self.more():
                yield text
            elif is_over or not follow:
                if text := self._decoder.decode(b"", final=True):
                    yield text
                return
            else:
                time.sleep(FOLLOW_PAUSE)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be written."""
        return self._is_over()

    def more(self) -> str:
        """Return what was written since the last time, a page at the most."""
        data, self._offset = self._page(self._offset)
        return self._decoder.decode(data)

    def begin(self, tail: int | None) -> str:
        """Go to the last `tail` lines and return them; to the beginning, and nothing, without."""
        if tail is None:
            return ""
        length = max(1, tail) * LINE_BYTES
        while True:
            data, end = b"", -length
            while True:
                page, position = self._page(end)
                if not page:
                    break
                data, end = data + page, position
            self._offset = max(0, end)
            end_of_line = b"\n" * data.endswith(b"\n")
            lines = data.removesuffix(b"\n").split(b"\n") if data else []
            is_whole = len(data) >= self._offset
            if is_whole or len(lines) > tail:
                kept = b"\n".join(lines[len(lines) - tail :] if tail < len(lines) else lines)
                return self._decoder.decode(kept + end_of_line * bool(kept or (tail and lines)))
            length *= 8


def all_output(outputs: Sequence[Output], tail: int | None, follow: bool) -> Iterator[str]:
    """Yield the lines of several workers, each with its worker's id before it: ``"3 | text"``.

    Parameters
    ----------
    outputs : sequence of Output
        By worker id; so are the lines, but for what comes while they are followed.
    tail : int, optional
        Only so many lines from the end, of each worker.
    follow : bool
        Go on until all of them have ended.
    """
    if not outputs:
        return
    width = len(str(outputs[-1].worker_id))
    rests = {output: "" for output in outputs}

    def told_apart(output: Output, text: str, is_last: bool) -> str:
        *lines, rest = (rests[output] + text).split("\n")
        if is_last and rest:
            lines, rest = [*lines, rest], ""
        rests[output] = rest
        return "".join(f"{output.worker_id:>{width}} | {line}\n" for line in lines)

    with ThreadPoolExecutor(AT_ONCE, "t2-output") as pool:
        if not follow:
            for output, text in zip(
                outputs, pool.map(lambda output: "".join(output.read(tail)), outputs), strict=True
            ):
                yield told_apart(output, text, True)
            return
        for output, text in zip(outputs, pool.map(lambda output: output.begin(tail), outputs), strict=True):
            yield told_apart(output, text, False)
        open_ones = list(outputs)
        while open_ones:
            over = [output.is_over for output in open_ones]
            found = list(pool.map(Output.more, open_ones))
            for output, text, is_over in zip(open_ones, found, over, strict=True):
                if piece := told_apart(output, text, is_over and not text):
                    yield piece
            open_ones = [
                output
                for output, text, is_over in zip(open_ones, found, over, strict=True)
                if text or not is_over
            ]
            if not any(found):
                time.sleep(FOLLOW_PAUSE)

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.client import logs
from t2notebook.client.logs import Output, all_output


def worker(data: bytes, worker_id: int = 0, page: int = 7) -> Output:
    """Return the output of a worker that has ended, given in small pages as an agent gives it in large ones."""

    def read(offset: int) -> tuple[bytes, int]:
        start = offset if offset >= 0 else max(0, len(data) + offset)
        some = data[start : start + page]
        return some, start + len(some)

    return Output(worker_id, read, lambda: True)


@given(st.text(st.sampled_from("ab\n\r é"), max_size=60), st.integers(0, 8), st.integers(1, 9))
def test_the_tail_is_the_last_lines(text: str, tail: int, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "LINE_BYTES", step)
        found = "".join(worker(text.encode()).read(tail))
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    if not lines[-1]:
        lines.pop()
    assert found == "".join(lines[len(lines) - tail :] if tail < len(lines) else lines)


def test_without_a_tail_all_comes() -> None:
    text = "ünïcode\n" * 50
    assert "".join(worker(text.encode()).read()) == text


def test_the_output_of_many_workers_is_told_apart() -> None:
    outputs = [worker(f"one of {n}\ntwo of {n}".encode(), n) for n in range(11)]
    text = "".join(all_output(outputs, None, False))
    assert text.startswith(" 0 | one of 0\n 0 | two of 0\n 1 | one of 1\n")
    assert text.endswith("10 | one of 10\n10 | two of 10\n")
    assert "".join(all_output(outputs, 1, False)).splitlines()[0] == " 0 | two of 0"
    assert "".join(all_output([], None, False)) == ""


def test_followed_workers_give_whole_lines_and_what_is_left_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "FOLLOW_PAUSE", 0.001)
    written = {0: ["he", "llo\nwor", "ld"], 1: ["", "", "bye\n"]}

    def grow(worker_id: int) -> Output:
        pieces, step = written[worker_id], count()

        def read(offset: int) -> tuple[bytes, int]:
            now = "".join(pieces[: next(step)])
            return now[offset:].encode(), len(now)

        return Output(worker_id, read, lambda: offsets(step) > len(pieces))

    def offsets(step: count[int]) -> int:
        return int(repr(step)[6:-1])

    text = "".join(all_output([grow(0), grow(1)], None, True))
    assert sorted(text.splitlines()) == ["0 | hello", "0 | world", "1 | bye"]

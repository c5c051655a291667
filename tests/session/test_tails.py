"""Pieces of workers' files are whole text."""

import pytest

from t2notebook.session.tails import decode


@pytest.mark.parametrize("text", ["plain", "ünd", "日本語", "a😀b"])
def test_a_text_that_comes_in_pieces_is_whole_in_the_end(text: str) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        first, used = decode(data[:cut], clipped=False)
        assert "�" not in first and used <= cut
        rest, end = decode(data[used:], clipped=False)
        assert first + rest == text and used + end == len(data)


def test_the_rest_of_a_character_at_the_beginning_is_left_out() -> None:
    data = "😀日x".encode()
    assert [decode(data[cut:], clipped=True)[0] for cut in (1, 2, 3, 5, 6)] == ["日x", "日x", "日x", "x", "x"]


def test_what_is_no_text_does_not_stop_it() -> None:
    text, used = decode(b"\xff\xfe ok \x80\x80\x80\x80", clipped=False)
    assert " ok " in text and used == 10
    assert decode(b"", clipped=True) == ("", 0)

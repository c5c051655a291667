"""Text that leaves a process: everybody can read it, and it says no less than before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.text import cleaned, dumps, loads, sendable

#: Surrogates too, which hypothesis leaves out by default.
ANY_TEXT = st.text(st.characters(codec=None))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(ANY_TEXT)
def test_any_text_becomes_valid_utf8_without_controls(text: str) -> None:
    result = sendable(text)
    assert result.encode("utf-8").decode("utf-8") == result
    assert not [c for c in result if (ord(c) < 32 or 0x7F <= ord(c) < 0xA0) and c not in "\t\n\r\x1b"]
    assert sendable(result) == result


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_what_everybody_can_read_stays_as_it_is(text: str) -> None:
    assert sendable(text) == text


@given(ANY_TEXT, st.integers(0, 200))
def test_no_more_than_the_limit_is_taken(text: str, limit: int) -> None:
    escaped = [c for c in text if sendable(c) != c]
    assert len(sendable(text, limit)) <= limit + 5 * min(limit, len(escaped))


def test_a_long_text_keeps_both_ends_and_says_what_is_missing() -> None:
    result = sendable("a" * 500 + "b" * 500, 100)
    assert result.startswith("aaaa") and result.endswith("bbbb")
    assert "900 characters left out" in result and len(result) <= 100


@given(ANY_JSON)
def test_any_record_can_be_sent_and_read(value: Any) -> None:
    text = dumps(value)
    assert text.isascii()
    read = json.loads(text)
    json.dumps(read, ensure_ascii=False).encode("utf-8")  # as a strict reader has it
    assert read == cleaned(value) == loads(text)


@given(ANY_JSON)
def test_what_an_older_version_wrote_is_read_the_same(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value).encode()):
        assert loads(text) == cleaned(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read caf\udce9.txt", "cannot read caf\\udce9.txt"),
        ("\ud83d", "\\ud83d"),
        ("a\0b", "a\\x00b"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        ("naïve 漢字 😀\n\t", "naïve 漢字 😀\n\t"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ],
)
def test_how_it_is_shown(text: str, shown: str) -> None:
    assert sendable(text) == shown
    assert loads(json.dumps({text: [text]})) == {shown: [shown]}

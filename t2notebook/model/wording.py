"""Wording of messages: articles and plurals."""

from __future__ import annotations


def with_article(noun: str) -> str:
    """Return ``"an int"``, ``"a str"``."""
    return f"{'an' if noun[:1].lower() in 'aeiou' and noun else 'a'} {noun}"


def type_of(value: object) -> str:
    """Return the name of a value's type with its article: ``"an int"``."""
    return with_article(type(value).__name__)


def counted(number: int | str, noun: str) -> str:
    """Return ``"1 port"``, ``"2 ports"``."""
    return f"{number} {noun if str(number) == '1' else noun + 's'}"


def its_workers(number: int) -> str:
    """Return in words which workers a job of so many has: ``workers 0 to 3``, ``only worker 0``."""
    return f"workers 0 to {number - 1}" if number > 1 else "only worker 0" if number else "no workers"

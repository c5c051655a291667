"""Constraints on the attributes of agents, as text for people and as objects for matching. Pure.

``rack=r1,zone!=b,unique:hostname,spread:rack``: commas separate constraints, and all of them must hold.

| written | an agent may take a worker if |
| --- | --- |
| ``rack=r1`` | its attribute `rack` is `r1`; ``rack=r1|r2``: is one of them |
| ``zone!=b`` | its attribute `zone` is not `b`, or it has none; ``zone!=a|b``: is none of them |
| ``unique:rack`` | no other worker of the job runs on an agent with its value of `rack` |
| ``spread:rack`` | its value of `rack` has not yet had its even share of the job's workers, rounded up |

A value (or name) that has commas, ``|`` or spaces around it stands in quotes of either kind: ``note='a,b'|'c|d'``.
Such a quote within it is doubled.

`hostname` is the agent's host, written as any attribute. Mesos's SCALARs are compared as numbers (in
thousandths, as Mesos rounds them); of RANGES a number or ``a-b`` must lie in one; of a SET, or of an
attribute that an agent has several times, one must be equal. An agent without the attribute takes no worker
under ``=``, ``unique:`` and ``spread:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from .errors import SubmitError

HOSTNAME = "hostname"

Ranges = tuple[tuple[int, int], ...]
#: TEXT and an item of a SET: str; SCALAR: whole thousandths; RANGES: inclusive pairs.
Value = str | int | Ranges
#: By name: all values that an agent has under it.
Attributes = Mapping[str, tuple[Value, ...]]

_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
#: What ends a name.
_SIGNS = ",|=!:"


class Operator(StrEnum):
    """The operator of a constraint on an attribute."""

    EQUAL = "="
    NOT_EQUAL = "!="
    UNIQUE = "unique"
    SPREAD = "spread"

    @property
    def counts_workers(self) -> bool:
        """Whether it depends on where the job's other workers are."""
        return self in (Operator.UNIQUE, Operator.SPREAD)


@dataclass(frozen=True)
class Constraint:
    """One constraint; `values` is empty for those that count workers."""

    operator: Operator
    attribute: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.operator.counts_workers:
            return f"{self.operator}:{_quoted(self.attribute, _SIGNS)}"
        return f"{_quoted(self.attribute, _SIGNS)}{self.operator}{'|'.join(map(_quoted, self.values))}"

    def admits(self, host: str, attributes: Attributes) -> bool:
        """Return whether an agent may take a worker, as far as its attributes alone decide."""
        found = values_of(self.attribute, host, attributes)
        if self.operator.counts_workers:
            return bool(found)
        is_there = any(_is(value, text) for value in found for text in self.values)
        return is_there if self.operator is Operator.EQUAL else not is_there

    def veto(self, host: str, attributes: Attributes) -> str:
        """Say why an agent is not admitted: ``rack is r2, r1 asked``."""
        found = value_of(self.attribute, host, attributes)
        if found is None:
            asked = f"{self} asked" if self.operator.counts_workers else f"{' or '.join(self.values)} asked"
            return f"has no attribute {self.attribute}, {asked}"
        but = "any but " if self.operator is Operator.NOT_EQUAL else ""
        return f"{self.attribute} is {found}, {but}{' or '.join(self.values)} asked"


@lru_cache(maxsize=1024)
def parse_where(where: str) -> tuple[Constraint, ...]:
    """Return the constraints in a text; none for an empty one.

    Raises
    ------
    SubmitError
        When a part is no constraint; the message says what one looks like.
    """
    if not where.strip():
        return ()
    return tuple(_parse(part, where) for part in _split(_tokens(where), ","))


#: A piece of a text: a character, or, with True, all that stood between quotes.
_Token = tuple[str, bool]


def _tokens(where: str) -> list[_Token]:
    """Return the characters of a text, and what is quoted in it as one token each.

    A quote counts only where a name or value begins, so that ``it's`` needs none around it.
    """
    tokens: list[_Token] = []
    position, begins = 0, True
    name, in_value = "", False
    while position < len(where):
        character = where[position]
        if begins and character in "'\"":
            found = re.compile(f"{character}((?:[^{character}]|{character}{character})*){character}").match(
                where, position
            )
            if found is None:
                raise SubmitError(
                    f"where is {where!r}: the {character} before {where[position + 1 :]!r} has no end"
                )
            position = found.end()
            if (after := where[position:].lstrip()) and after[0] not in ",|=!":
                raise SubmitError(
                    f"where is {where!r}: {after!r} follows a closing {character}; a comma is missing"
                )
            tokens.append((found[1].replace(character * 2, character), True))
            begins = False
            continue
        tokens.append((character, False))
        position += 1
        if character == ",":
            begins, name, in_value = True, "", False
        elif character == "=" and not in_value:
            begins = in_value = True
        elif character == "|" and in_value:
            begins = True
        elif not (begins and character.isspace()):
            begins = character == ":" and not in_value and name.strip() in (Operator.UNIQUE, Operator.SPREAD)
            name += character
    return tokens


def _split(tokens: list[_Token], separator: str, most: int = -1) -> list[list[_Token]]:
    """Return what stands between unquoted separators, without the white space around it."""
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token == (separator, False) and len(parts) - 1 != most:
            parts.append([])
        else:
            parts[-1].append(token)
    for part in parts:
        while part and part[-1][0].isspace() and not part[-1][1]:
            part.pop()
        while part and part[0][0].isspace() and not part[0][1]:
            part.pop(0)
    return parts


def _joined(tokens: Iterable[_Token]) -> str:
    return "".join(text for text, _ in tokens)


def _bare(tokens: Iterable[_Token]) -> str:
    """Return tokens as a text in which nothing that was quoted can be taken for a sign."""
    return "".join("x" if is_quoted else text for text, is_quoted in tokens)


def _parse(part: list[_Token], where: str) -> Constraint:
    if not part:
        raise SubmitError(f"where is {where!r}: a constraint is missing between its commas")
    bare = _bare(part)
    word, colon, _ = bare.partition(":")
    if colon and word in (Operator.UNIQUE, Operator.SPREAD):
        _, named = _split(part, ":", 1)
        if not _joined(named).strip() or re.search(r"[=!|:]", _bare(named)):
            raise SubmitError(f"{_joined(part)!r} names no attribute; write {word}:rack or {word}:{HOSTNAME}")
        return Constraint(Operator(word), _joined(named))
    left, *right = _split(part, "=", 1)
    operator = Operator.EQUAL
    if left and left[-1] == ("!", False):
        operator = Operator.NOT_EQUAL
        (left,) = _split(left[:-1], "")
    name = _joined(left)
    if not right or not name.strip():
        hint = "write rack=r1, rack=r1|r2, rack!=r1, unique:rack or spread:rack"
        if "," in where:
            hint += """; a value that has a comma needs quotes of its own: --where 'note="a,b"'"""
        raise SubmitError(f"{_joined(part)!r} is no constraint; {hint}")
    if right[0] and right[0][0] == ("=", False):
        raise SubmitError(f"{_joined(part)!r} has one = too many; write {name}{_joined(right[0])}")
    values = tuple(_joined(value) for value in _split(right[0], "|"))
    if not all(values):
        raise SubmitError(
            f"{_joined(part)!r} lacks a value; write {name}{operator}r1 or {name}{operator}r1|r2"
        )
    return Constraint(operator, name, values)


def _quoted(text: str, signs: str = ",|=!") -> str:
    """Return a name or value as it is to be written: in quotes if it would be taken for something else."""
    if text == text.strip() and text[:1] not in ("'", '"') and not any(sign in text for sign in signs):
        return text
    quote = "'" if '"' in text and "'" not in text else '"'
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def values_of(attribute: str, host: str, attributes: Attributes) -> tuple[Value, ...]:
    """Return the values of an attribute, or of ``hostname``.

    Parameters
    ----------
    attribute : str
    host : str
        The agent's.
    attributes : mapping
        The agent's, by name.
    """
    return (host,) if attribute == HOSTNAME else attributes.get(attribute, ())


def value_of(attribute: str, host: str, attributes: Attributes) -> str | None:
    """Return an attribute as one text, by which agents are grouped; None where there is none.

    Parameters
    ----------
    attribute : str
    host : str
        The agent's.
    attributes : mapping
        The agent's, by name.
    """
    if attribute == HOSTNAME:
        return host
    found = attributes.get(attribute)
    return ", ".join(map(_text, found)) if found else None


def attributes_of(items: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Value, ...]]:
    """Read the attributes of an offer (JSON of v1's `Attribute` messages)."""
    read: dict[str, tuple[Value, ...]] = {}
    for item in items:
        values: tuple[Value, ...] = ()
        if "scalar" in item:
            values = (round(item["scalar"]["value"] * 1000),)
        elif "ranges" in item:
            values = (tuple((part["begin"], part["end"]) for part in item["ranges"].get("range", ())),)
        elif "set" in item:
            values = tuple(item["set"].get("item", ()))
        elif "text" in item:
            values = (item["text"]["value"],)
        read[item["name"]] = read.get(item["name"], ()) + values
    return read


def attributes_of_agent(record: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """Read an agent's attributes as the master's ``/slaves`` writes them: numbers, and texts for the rest."""
    read: dict[str, tuple[Value, ...]] = {}
    for name, value in record.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            read[name] = (round(value * 1000),)
        elif str(value).startswith("[") and (found := _RANGE.findall(str(value))):
            read[name] = (tuple((int(begin), int(end)) for begin, end in found),)
        elif str(value).startswith("{") and str(value).endswith("}"):
            read[name] = tuple(item.strip() for item in str(value)[1:-1].split(",") if item.strip())
        else:
            read[name] = (str(value),)
    return read


def _is(value: Value, text: str) -> bool:
    if isinstance(value, str):
        return value == text
    if isinstance(value, int):
        try:
            return round(float(text) * 1000) == value
        except (ValueError, OverflowError):
            return False
    # Messages and Mesos's pages write ranges in brackets, and so does who copies them.
    parts = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    return all(_is_within(value, part.strip()) for part in parts)


def _is_within(ranges: Ranges, text: str) -> bool:
    span = _RANGE.fullmatch(text)
    if span is None and not text.isdecimal():
        return False
    begin, end = (int(span[1]), int(span[2])) if span else (int(text), int(text))
    return any(low <= begin <= end <= high for low, high in ranges)


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value / 1000:.3f}".rstrip("0").rstrip(".")
    return f"[{', '.join(f'{begin}-{end}' for begin, end in value)}]"

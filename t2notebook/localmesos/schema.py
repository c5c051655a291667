"""JSON to protobuf-shaped dicts by a table of messages, with the checks and error texts of Mesos's own parser.

A parsed message is a plain dict: only fields that are known, in the order in which the `.proto` file
declares them (which is the order Mesos prints), numbers and enums normalised, defaults filled in as Mesos
fills them (deprecated fields have none). The texts are those of stout's `protobuf.hpp`, as recorded.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from t2notebook.localmesos.messages import ENUMS, MESSAGES

Message = dict[str, Any]

_NUMBERS = {"double": float, "float": float, "int32": int, "uint32": int, "int64": int, "uint64": int}
_KIND_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
_DEFAULTS = {"true": True, "false": False}


class SchemaError(ValueError):
    """The JSON does not fit the message; the text is Mesos's."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes
    ----------
    kind
        `string`, `bytes`, `bool`, a number's type, an enum's or a message's name.
    label
        `?` optional, `!` required, `*` repeated.
    default
        What an absent optional field is printed as, or None.
    """

    name: str
    kind: str
    label: str
    default: Any


def _compile(spec: str) -> tuple[Field, ...]:
    fields = []
    for part in spec.split():
        match = re.fullmatch(r"(\w+)([!*]?):([\w.]+)(?:=(\S+))?", part)
        assert match is not None, part
        name, label, kind, default = match.groups()
        value: Any = None
        if default is not None:
            value = _DEFAULTS.get(default, default)
            if kind in _NUMBERS:
                value = _NUMBERS[kind](default)
        fields.append(Field(name, kind, label or "?", value))
    return tuple(fields)


_compiled: dict[str, tuple[Field, ...]] = {}


def fields_of(message: str) -> tuple[Field, ...]:
    """Give a message's fields in the order of their declaration."""
    found = _compiled.get(message)
    if found is None:
        found = _compiled[message] = _compile(MESSAGES[message])
    return found


@dataclass(frozen=True)
class _Shape:
    """What is asked of a message's fields again and again."""

    by_name: dict[str, Field]
    required: tuple[Field, ...]
    nested: tuple[Field, ...]


_shapes: dict[str, _Shape] = {}


def _shape(message: str) -> _Shape:
    found = _shapes.get(message)
    if found is None:
        fields = fields_of(message)
        found = _shapes[message] = _Shape(
            {field.name: field for field in fields},
            tuple(field for field in fields if field.label == "!"),
            tuple(field for field in fields if field.kind in MESSAGES),
        )
    return found


def _not_expecting(value: Any, name: str) -> SchemaError:
    return SchemaError(f"Not expecting a JSON {_KIND_NAMES[type(value)]} for field '{name}'")


def _scalar(field: Field, value: Any) -> Any:
    """Convert one value of a field; None means "as if it had not been there"."""
    kind = field.kind
    if value is None:
        return None  # as stout's parser has it: a field that is null is not set
    if isinstance(value, dict):
        if kind not in MESSAGES:
            raise _not_expecting(value, field.name)
        return _convert(kind, value)
    if isinstance(value, str):
        if kind == "string":
            return value
        if kind == "bytes":
            return _bytes(field.name, value)
        if kind in ENUMS:
            return value if value in ENUMS[kind] else None
        if kind in _NUMBERS:
            try:
                number = json.loads(value)
            except ValueError:
                number = None
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise SchemaError(f"Failed to parse '{value}' as a JSON number for field '{field.name}'")
            return _number(kind, number)
    elif isinstance(value, bool):
        if kind == "bool":
            return value
    elif isinstance(value, int | float) and kind in _NUMBERS:
        return _number(kind, value)
    raise _not_expecting(value, field.name)


def _number(kind: str, value: int | float) -> int | float:
    try:
        number: int | float = _NUMBERS[kind](value)
        return number
    except (OverflowError, ValueError):
        raise SchemaError(f"Failed to parse '{value}' as a JSON number") from None


def _bytes(name: str, value: str) -> str:
    """Check base64 and give its canonical form (bytes stay base64 within the dicts: they only pass through)."""
    bad = re.search(r"[^A-Za-z0-9+/=]", value)
    if bad is not None:
        raise SchemaError(f"Failed to base64 decode bytes field '{name}': Invalid character '{bad.group()}'")
    try:
        return base64.b64encode(base64.b64decode(value + "=" * (-len(value) % 4))).decode()
    except (binascii.Error, ValueError):
        raise SchemaError(f"Failed to base64 decode bytes field '{name}': Invalid length") from None


def _convert(message: str, obj: Message) -> Message:
    fields = _shape(message).by_name
    found: Message = {}
    # Mesos keeps JSON objects in a sorted map, so of two faults the first by name is reported.
    for name in sorted(obj):
        field = fields.get(name)
        value = obj[name]
        if field is None or value is None:
            continue
        if field.label == "*":
            items = value if isinstance(value, list) else [value]
            converted = [_scalar(field, item) for item in items]
            # An empty list is no list: protobuf cannot tell them apart, and Mesos prints none.
            if kept := [item for item in converted if item is not None]:
                found[name] = kept
        elif isinstance(value, list):
            raise _not_expecting(value, name)
        else:
            one = _scalar(field, value)
            if one is not None:
                found[name] = one
    result = {}
    for name, field in fields.items():
        if name in found:
            result[name] = found[name]
        elif field.default is not None:
            result[name] = field.default
    return result


def _missing(message: str, value: Message, path: str, into: list[str]) -> None:
    shape = _shape(message)
    for field in shape.required:
        if field.name not in value:
            into.append(path + field.name)
    for field in shape.nested:
        if field.name in value:
            if field.label == "*":
                for index, item in enumerate(value[field.name]):
                    _missing(field.kind, item, f"{path}{field.name}[{index}].", into)
            else:
                _missing(field.kind, value[field.name], f"{path}{field.name}.", into)


def parse(message: str, obj: Any) -> Message:
    """Turn parsed JSON into a message.

    Raises
    ------
    SchemaError
        With the text that Mesos puts behind "Failed to convert JSON into Call protobuf: ".
    """
    if not isinstance(obj, dict):
        raise SchemaError("Expecting a JSON object")
    result = _convert(message, obj)
    missing: list[str] = []
    _missing(message, result, "", missing)
    if missing:
        raise SchemaError("Missing required fields: " + ", ".join(missing))
    return result


def load_json(body: bytes) -> Any:
    """Parse JSON strictly (no NaN, no duplicates of meaning, nothing after it).

    Raises
    ------
    SchemaError
        With the text that Mesos puts behind "Failed to parse body into JSON: ".
    """

    def constant(name: str) -> Any:
        raise ValueError(name)

    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=constant)
        if "\\ud" in text.lower():
            # Half of a surrogate pair is no character: no file, no environment and no other JSON could hold it.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as fault:
        near = text[fault.pos :].split("\n", 1)[0]
        raise SchemaError(f"syntax error at line {fault.lineno} near: {near[:80]}") from None
    except RecursionError:
        raise SchemaError("syntax error at line 1 near: too deeply nested") from None
    except ValueError:
        raise SchemaError("syntax error at line 1 near: ") from None


def in_order(message: str, value: Message) -> Message:
    """Give a message's fields in the order of their declaration."""
    return {field.name: value[field.name] for field in fields_of(message) if field.name in value}

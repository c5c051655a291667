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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .messages import ENUMS, MESSAGES

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
        `?` optional, `!` required, `*` repeated, `%` a map from strings.
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
        match = re.fullmatch(r"(\w+)([!*%]?):([\w.]+)(?:=(\S+))?", part)
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


Convert = Callable[[Any, list[str]], Any]
"""(JSON value, where to note messages that lack a required field) -> value; None is "as if it were not there"."""


@dataclass(frozen=True)
class _Shape:
    """A message, made ready to convert: what each call needs of it again and again."""

    converters: dict[str, tuple[bool, Convert]]
    defaults: dict[str, Any]
    required: tuple[str, ...]
    nested: tuple[Field, ...]


_shapes: dict[str, _Shape] = {}


def _shape(message: str) -> _Shape:
    found = _shapes.get(message)
    if found is None:
        fields = fields_of(message)
        found = _shapes[message] = _Shape(
            {
                field.name: (
                    field.label == "*",
                    (_map_converter if field.label == "%" else _converter)(field),
                )
                for field in fields
            },
            {field.name: field.default for field in fields if field.default is not None},
            tuple(field.name for field in fields if field.label == "!"),
            tuple(field for field in fields if field.kind in MESSAGES),
        )
    return found


def _not_expecting(value: Any, name: str) -> SchemaError:
    return SchemaError(f"Not expecting a JSON {_KIND_NAMES[type(value)]} for field '{name}'")


def _converter(field: Field) -> Convert:
    """Give what converts one value of a field (null is no value, as stout's parser has it)."""
    kind, name = field.kind, field.name

    def message(value: Any, lacking: list[str]) -> Any:
        if isinstance(value, dict):
            return _convert(kind, value, lacking)
        return other(value)

    def string(value: Any, lacking: list[str]) -> Any:
        return value if isinstance(value, str) else other(value)

    def octets(value: Any, lacking: list[str]) -> Any:
        return _bytes(name, value) if isinstance(value, str) else other(value)

    def enum(value: Any, lacking: list[str]) -> Any:
        if isinstance(value, str):
            return value if value in ENUMS[kind] else None
        return other(value)

    def boolean(value: Any, lacking: list[str]) -> Any:
        return value if isinstance(value, bool) else other(value)

    def number(value: Any, lacking: list[str]) -> Any:
        if isinstance(value, str):
            return _number(kind, _number_in(name, value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(kind, value)
        return other(value)

    def other(value: Any) -> None:
        if value is not None:
            raise _not_expecting(value, name)

    if kind in MESSAGES:
        return message
    if kind in ENUMS:
        return enum
    if kind in _NUMBERS:
        return number
    return {"string": string, "bytes": octets, "bool": boolean}[kind]


def _map_converter(field: Field) -> Convert:
    """Give what converts a map from strings to values of a field's kind."""
    convert = _converter(field)

    def mapping(value: Any, lacking: list[str]) -> Any:
        if not isinstance(value, dict):
            raise _not_expecting(value, field.name)
        entries = {key: _finite(convert(item, lacking)) for key, item in value.items()}
        return {key: item for key, item in entries.items() if item is not None} or None

    return mapping


def _number_in(name: str, text: str) -> int | float:
    try:
        number = json.loads(text)
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SchemaError(f"Failed to parse '{text}' as a JSON number for field '{name}'")
    return number


def _finite(value: Any) -> Any:
    """Keep an infinite amount as protobuf's JSON writes it: as a number it is no JSON."""
    if isinstance(value, dict) and value.get("value") == float("inf"):
        return {**value, "value": "Infinity"}
    return value


def _number(kind: str, value: int | float) -> int | float:
    try:
        number: int | float = _NUMBERS[kind](value)
        return number
    except (OverflowError, ValueError):
        raise SchemaError(f"Failed to parse '{value}' as a JSON number") from None


_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


def _bytes(name: str, value: str) -> str:
    """Check base64 and give its canonical form (bytes stay base64 within the dicts: they only pass through)."""
    bad = _NO_BASE64.search(value)
    if bad is not None:
        raise SchemaError(f"Failed to base64 decode bytes field '{name}': Invalid character '{bad.group()}'")
    try:
        return base64.b64encode(base64.b64decode(value + "=" * (-len(value) % 4))).decode()
    except (binascii.Error, ValueError):
        raise SchemaError(f"Failed to base64 decode bytes field '{name}': Invalid length") from None


def _convert(message: str, obj: Message, lacking: list[str]) -> Message:
    shape = _shapes.get(message) or _shape(message)
    found: Message = dict(shape.defaults)
    # Mesos keeps JSON objects in a sorted map, so of two faults the first by name is reported.
    for name in sorted(obj) if len(obj) > 1 else obj:
        value = obj[name]
        if value is None or name not in shape.converters:
            continue
        repeated, convert = shape.converters[name]
        if repeated:
            items = value if isinstance(value, list) else [value]
            # An empty list is no list: protobuf cannot tell them apart, and Mesos prints none.
            if kept := [one for item in items if (one := convert(item, lacking)) is not None]:
                found[name] = kept
        else:
            one = convert(value, lacking)
            if one is not None:
                found[name] = one
    for name in shape.required:
        if name not in found:
            lacking.append(message)
    return found if len(found) < 2 else {name: found[name] for name in shape.converters if name in found}


def _missing(message: str, value: Message, path: str, into: list[str]) -> None:
    shape = _shape(message)
    into += [path + name for name in shape.required if name not in value]
    for field in shape.nested:
        if field.name in value:
            if field.label == "*":
                for index, item in enumerate(value[field.name]):
                    _missing(field.kind, item, f"{path}{field.name}[{index}].", into)
            elif field.label == "%":
                for key, item in value[field.name].items():
                    _missing(field.kind, item, f"{path}{field.name}.{key}.", into)
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
    lacking: list[str] = []
    result = _convert(message, obj, lacking)
    if lacking:
        missing: list[str] = []
        _missing(message, result, "", missing)
        raise SchemaError("Missing required fields: " + ", ".join(missing))
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_no_constant)


def load_json(body: bytes) -> Any:
    """Parse JSON strictly (no NaN, no duplicates of meaning, nothing after it).

    Raises
    ------
    SchemaError
        With the text that Mesos puts behind "Failed to parse body into JSON: ".
    """
    try:
        text = body.decode("utf-8")
        value = _STRICT.decode(text)
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

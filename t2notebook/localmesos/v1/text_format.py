"""A message as protobuf's text format prints it: Mesos shows two ExecutorInfos so when they should be one. Pure."""

from __future__ import annotations

import base64
import json

from . import schema
from .messages import ENUMS
from .schema import Field, Message

_BY_NUMBER = {
    "ExecutorInfo": "executor_id data resources command framework_id name source container discovery "
    "shutdown_grace_period labels type",
    "CommandInfo": "uris environment value user shell arguments",
    "ContainerInfo": "type volumes docker hostname mesos",
    "Resource": "name type scalar ranges set role disk reservation revocable shared allocation_info",
}
"""Fields by their numbers, where `mesos.proto` declares them in another order."""


def text(message: str, value: Message, indent: int = 0) -> str:
    """Print a parsed message.

    Which fields were given and which filled in by their defaults is not known any more: an enum's default counts
    as not given, other defaults as given.

    Parameters
    ----------
    message
        The name of its type.
    indent
        Spaces before each line.
    """
    fields = {field.name: field for field in schema.fields_of(message)}
    names = _BY_NUMBER.get(message, "").split() or list(fields)
    return "".join(
        _entry(fields[name], item, "  " * indent, indent)
        for name in names
        # A map is left out: nothing that is shown so has one.
        if name in value
        and fields[name].label != "%"
        and not (fields[name].kind in ENUMS and value[name] == fields[name].default)
        for item in (value[name] if fields[name].label == "*" else [value[name]])
    )


def _entry(field: Field, item: object, pad: str, indent: int) -> str:
    if isinstance(item, dict):
        return f"{pad}{field.name} {{\n{text(field.kind, item, indent + 1)}{pad}}}\n"
    if isinstance(item, bool):
        shown = str(item).lower()
    elif isinstance(item, float):
        shown = str(int(item)) if item.is_integer() and abs(item) < 1e15 else repr(item)
    elif isinstance(item, str) and field.kind in ("string", "bytes"):
        shown = json.dumps(base64.b64decode(item).decode("latin-1") if field.kind == "bytes" else item)
    else:
        shown = str(item)
    return f"{pad}{field.name}: {shown}\n"

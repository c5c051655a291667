"""`msgspec.Struct` classes: made anew from their fields, as their layout is settled when they are made."""

from __future__ import annotations

import sys
from typing import Any

from .functions import annotations_of

_AT_BIRTH = ("__module__", "__qualname__", "__orig_bases__")


def is_struct(kind: type) -> bool:
    """Whether a class is one of msgspec's; nothing is imported for it."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and isinstance(kind, type(msgspec.Struct))


def reduce_struct(kind: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return what makes the class, its arguments, and the attributes to set afterwards."""
    fields = kind.__struct_fields__
    defaults = dict(
        zip(reversed(fields), reversed(kind.__struct_defaults__), strict=False)  # of the last ones only
    )
    encoded = dict(zip(fields, kind.__struct_encode_fields__, strict=True))
    attributes = dict(kind.__dict__)
    annotations = annotations_of(kind)
    own = [name for name in annotations if name in encoded]
    options = {
        name: getattr(kind.__struct_config__, name)
        for name in dir(kind.__struct_config__)
        if not name.startswith("_") and name not in ("tag", "tag_field")
    }
    if kind.__struct_config__.tag is not None:
        options |= {"tag": kind.__struct_config__.tag, "tag_field": kind.__struct_config__.tag_field}
    # Not from the signature, for which msgspec looks up all types.
    options["kw_only"] = any(name not in kind.__match_args__ for name in own)
    options["rename"] = {name: encoded[name] for name in own}
    birth = {name: attributes.pop(name) for name in _AT_BIRTH if name in attributes}
    birth["__qualname__"] = kind.__qualname__
    described = {name: _default(defaults[name]) for name in own if name in defaults}
    attributes.pop("__slots__", None)
    return make, (type(kind), kind.__name__, kind.__bases__, birth, own, described, options), attributes


def make(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    birth: dict[str, Any],
    own: list[str],
    defaults: dict[str, dict[str, Any]],
    options: dict[str, Any],
) -> type:
    """Return a class with the fields `own`; their types are attributes, set later.

    Parameters
    ----------
    metaclass
    name : str
    bases : tuple of type
    birth : dict
        The namespace that a class needs when it is made.
    own : list of str
        Its own fields.
    defaults : dict
        Values and factories, by field.
    options : dict
        As ``class Name(Struct, frozen=True)`` has them.
    """
    msgspec = sys.modules["msgspec"]  # the bases are here
    namespace = {key: msgspec.field(**default) for key, default in defaults.items()}
    namespace |= {**birth, "__annotations__": dict.fromkeys(own, Any)}
    made: type = metaclass(name, bases, namespace, **options)
    return made


def _default(default: Any) -> dict[str, Any]:
    """Return the arguments of `msgspec.field` for a default."""
    msgspec = sys.modules["msgspec"]
    if default is msgspec.NODEFAULT:
        return {}
    if type(default).__module__.partition(".")[0] == "msgspec" and callable(
        getattr(default, "factory", None)
    ):
        return {"default_factory": default.factory}
    return {"default": default}

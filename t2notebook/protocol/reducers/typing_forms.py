"""Type variables, aliases and new types that nobody can import, taken apart and put together again."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from .classes import identities

#: Keywords of their constructors, with the attributes that hold them.
_KEYWORDS = {
    "bound": "__bound__",
    "covariant": "__covariant__",
    "contravariant": "__contravariant__",
    "infer_variance": "__infer_variance__",
}
#: Those of Python 3.12 and later by name: older ones have no such type.
_ALIAS = getattr(typing, "TypeAliasType", None)


def reducers() -> dict[type, Callable[[Any], Any]]:
    """Return the reducer of each kind."""
    found: dict[type, Callable[[Any], Any]] = {
        typing.TypeVar: _reduce_variable,
        typing.ParamSpec: _reduce_variable,
        typing.TypeVarTuple: _reduce_variable,
        typing.NewType: lambda new: (
            _make,
            (typing.NewType, new.__module__, (new.__name__, new.__supertype__), {}),
        ),
    }
    if _ALIAS is not None:
        found[_ALIAS] = _reduce_alias
    return found


def _reduce_variable(variable: Any) -> Any:
    constraints = getattr(variable, "__constraints__", ())
    keywords = {
        keyword: getattr(variable, attribute)
        for keyword, attribute in _KEYWORDS.items()
        if getattr(variable, attribute, None)
    }
    if getattr(variable, "has_default", bool)():  # from Python 3.13 on
        keywords["default"] = variable.__default__
    arguments = (type(variable), variable.__module__, (variable.__name__, *constraints), keywords)
    return _make_known, (identities.name(variable), *arguments)


def _make_known(identity: str, kind: type, module: str, arguments: Any, keywords: Any) -> Any:
    known = identities.get(identity)
    return identities.keep(identity, _make(kind, module, arguments, keywords)) if known is None else known


def _make(kind: type, module: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call `kind` as code of `module` does: the constructors look up who calls them."""
    names = {"__name__": module, "kind": kind, "arguments": arguments, "keywords": keywords}
    return eval("kind(*arguments, **keywords)", names)


def _reduce_alias(alias: Any) -> Any:
    if alias.__type_params__:
        keywords = {"type_params": alias.__type_params__}
        return _make, (_ALIAS, alias.__module__, (alias.__name__, alias.__value__), keywords)
    # Its value may name the alias itself, so that comes later, as with the statement.
    return _make_alias, (alias.__name__, alias.__module__), (alias.__value__,), None, None, _set_alias


#: By id: where aliases that are being put together look their values up.
_values: dict[int, list[Any]] = {}


def _make_alias(name: str, module: str) -> Any:
    value: list[Any] = []
    names: dict[str, Any] = {"__name__": module, "value": value}
    exec(f"type {name} = value[0]", names)
    _values[id(names[name])] = value
    return names[name]


def _set_alias(alias: Any, state: tuple[Any]) -> None:
    _values.pop(id(alias)).extend(state)

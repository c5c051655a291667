"""Classes taken apart and put together again: made empty, then given their own attributes, each as it was.

Neither `__init_subclass__` nor a metaclass that travels along is called again: what they did at home is among the
attributes. A class has an identity, so that one that went away and comes back is the one that is here.
"""

from __future__ import annotations

import abc
import enum
import inspect
import pickle
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from . import structs
from .functions import annotations_of

_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE: not built in
#: What a class must have when it is made; `__firstlineno__` does not survive a later `__module__`.
_AT_BIRTH = ("__module__", "__qualname__", "__slots__", "__orig_bases__")
#: What `class` makes anew, or what belongs to this process.
_LEFT_OUT = frozenset({"_abc_impl", "__annotate_func__", "__annotations_cache__", "__classdictcell__"})


class Identities:
    """Objects that keep their identity from process to process, by a name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        # By id: a metaclass may make classes that have no hash.
        self._names: dict[int, str] = {}

    def name(self, value: Any) -> str:
        """Return an object's name, a new one if it has none."""
        with self._lock:
            name = self._names.get(id(value), "")
            if self._objects.get(name) is not value:
                name = self._names[id(value)] = uuid.uuid4().hex
                self._objects[name] = value
            return name

    def get(self, name: str) -> Any:
        """Return the object of this name, None if it is not here."""
        return self._objects.get(name)

    def keep(self, name: str, value: Any) -> Any:
        """Return the object of this name, `value` if there was none."""
        with self._lock:
            kept = self._objects.setdefault(name, value)
            self._names[id(kept)] = name
            return kept

    def __contains__(self, value: Any) -> bool:
        return self._objects.get(self._names.get(id(value), "")) is value


identities = Identities()
#: Identities of classes that are made and have not got their attributes.
_unfinished: set[str] = set()
_quiet = threading.RLock()


def reduce_class(kind: type, is_dynamic: Callable[[type], bool]) -> tuple[Any, ...]:
    """Return what pickle makes a class of that nobody can import.

    Parameters
    ----------
    kind : type
    is_dynamic : callable
        Whether a metaclass travels along.

    Raises
    ------
    pickle.PicklingError
        For a class of a metaclass that insists on arguments, which a class does not keep.
    """
    if structs.is_struct(kind):
        make, arguments, attributes = structs.reduce_struct(kind)
        made: tuple[Any, ...] = make_struct, (make, arguments, identities.name(kind))
    else:
        _refuse_arguments(kind, is_dynamic)
        attributes = dict(kind.__dict__)
        birth = {name: attributes.pop(name) for name in _AT_BIRTH if name in attributes}
        birth["__qualname__"] = kind.__qualname__
        if isinstance(attributes.get("__dict__"), property):
            birth["__dict__"] = attributes.pop("__dict__")
        made = make_class, (type(kind), kind.__name__, kind.__bases__, birth, identities.name(kind))
    if "__annotate_func__" in attributes:  # from Python 3.14 on
        attributes["__annotations__"] = annotations_of(kind)
    own = {name: value for name, value in attributes.items() if not _is_made_anew(kind, name, value)}
    state = (own, list(_registered(kind)), identities.name(kind))
    return *made, state, None, None, set_class


def make_class(
    metaclass: type, name: str, bases: tuple[type, ...], birth: dict[str, Any], identity: str
) -> type:
    """Return the class of this identity, or a new one that `set_class` completes.

    Parameters
    ----------
    metaclass : type
    name : str
    bases : tuple of type
    birth : dict
        The namespace that a class needs when it is made.
    identity : str
        Tells the class from others that were pickled.
    """
    known: type | None = identities.get(identity)
    if known is not None:
        return known
    with _no_calls_of_init_subclass(bases):
        made = _make(metaclass, name, bases, birth)
    return _keep(made, identity)


def make_struct(make: Callable[..., type], arguments: tuple[Any, ...], identity: str) -> type:
    """Return the class of this identity, or the one that `make` makes.

    Parameters
    ----------
    make : callable
    arguments : tuple
        For `make`.
    identity : str
        Tells the class from others that were pickled.
    """
    known = identities.get(identity)
    return _keep(make(*arguments), identity) if known is None else known


def _keep(made: type, identity: str) -> type:
    kept: type = identities.keep(identity, made)
    if kept is made:
        _unfinished.add(identity)
    return kept


def set_class(kind: type, state: tuple[dict[str, Any], list[type], str]) -> None:
    """Give a class its attributes, unless it was here before."""
    attributes, registered, identity = state
    if identity not in _unfinished:
        return
    last = attributes.pop("__firstlineno__", None)
    for name, value in attributes.items():
        # Not through a metaclass, which may refuse or act.
        type.__setattr__(kind, name, value)
    if last is not None:
        type.__setattr__(kind, "__firstlineno__", last)
    for each in registered:
        abc.ABCMeta.register(kind, each)  # type: ignore[arg-type]
    _unfinished.discard(identity)


def is_unfinished(kind: type) -> bool:
    """Whether a class is being put together."""
    return kind in identities and identities.name(kind) in _unfinished


def _make(metaclass: Any, name: str, bases: tuple[type, ...], birth: dict[str, Any]) -> type:
    made: type
    maker: Any = _maker(metaclass)
    if maker is type or _is_complete_by_attributes(metaclass, bases):
        made = type.__new__(metaclass, name, bases, birth)
        if issubclass(metaclass, abc.ABCMeta):
            abc._abc_init(made)  # type: ignore[attr-defined]
        return made
    namespace = maker.__prepare__(name, bases)
    namespace.update(birth)
    made = maker.__new__(metaclass, name, bases, namespace)
    maker.__init__(made, name, bases, namespace)
    return made


def _maker(metaclass: type) -> type:
    """Return the first class of a metaclass that did not travel: it may have to do something here."""
    return next(each for each in metaclass.__mro__ if each not in identities and issubclass(each, type))


def _is_complete_by_attributes(metaclass: type, bases: tuple[type, ...]) -> bool:
    """Whether the metaclass does nothing but set attributes: those of enumerations and of TypedDict.

    Called again, they would want the members as the class statement gave them, and no dict among the bases.
    """
    return issubclass(metaclass, enum.EnumMeta) or (
        bases[-1:] == (dict,) and metaclass.__name__ == "_TypedDictMeta"
    )


def _refuse_arguments(kind: type, is_dynamic: Callable[[type], bool]) -> None:
    metaclass: type = type(kind)
    for maker in metaclass.__mro__:
        if maker is type or issubclass(maker, enum.EnumMeta):
            return
        if is_dynamic(maker):
            continue
        makes = (maker.__dict__.get("__new__"), maker.__dict__.get("__init__"))
        needed = [name for function in makes for name in _required(function, 4)]
        if needed:
            raise pickle.PicklingError(
                f"class {kind.__qualname__!r} was made with {needed[0]}=, which its metaclass "
                f"{maker.__qualname__!r} needs and a class does not keep"
            )


def _required(function: Any, given: int) -> list[str]:
    """Return the parameters after the `given` first that a function cannot be called without."""
    try:
        parameters = inspect.signature(getattr(function, "__func__", function)).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        each.name
        for index, each in enumerate(parameters)
        if each.default is each.empty
        and (each.kind is each.KEYWORD_ONLY or (each.kind is each.POSITIONAL_OR_KEYWORD and index >= given))
    ]


@contextmanager
def _no_calls_of_init_subclass(bases: tuple[type, ...]) -> Iterator[None]:
    """Keep bases that travelled, and those that insist on arguments, from being told of a subclass again."""
    told: dict[type, Any] = {}
    for base in bases:
        for each in base.__mro__:
            method = each.__dict__.get("__init_subclass__")
            if method is None or each in told or not each.__flags__ & _HEAP_TYPE:
                continue
            if each in identities or _required(method, 1):
                told[each] = method
    if not told:
        yield
        return
    with _quiet:
        for each in told:
            type.__setattr__(each, "__init_subclass__", classmethod(_pass_on(each)))
        try:
            yield
        finally:
            for each, method in told.items():
                type.__setattr__(each, "__init_subclass__", method)


def _pass_on(definer: type) -> Callable[..., None]:
    def __init_subclass__(kind: type, **keywords: Any) -> None:
        above: Any = super(definer, kind)
        above.__init_subclass__()

    return __init_subclass__


def _is_made_anew(kind: type, name: str, value: Any) -> bool:
    if name in _LEFT_OUT:
        return True
    own = isinstance(value, GetSetDescriptorType | MemberDescriptorType) and value.__objclass__ is kind
    return own and value.__name__ == name


def _registered(kind: type) -> Iterator[type]:
    """Yield the virtual subclasses of an abstract base class."""
    if not isinstance(kind, abc.ABCMeta) or "_abc_impl" not in kind.__dict__:
        return
    try:
        registry = abc._get_dump(kind)[0]  # type: ignore[attr-defined]
    except (AttributeError, TypeError, IndexError):
        # The documented way takes milliseconds, and also gives those that a `__subclasshook__` accepts.
        registry = {weakref.ref(each) for each in _all_subclasses() if _is_virtual(each, kind)}
    alive = [each for found in registry if (each := found()) is not None]
    yield from sorted(alive, key=lambda each: each.__qualname__)


def _all_subclasses() -> Iterator[type]:
    seen: set[int] = set()
    each: type
    pending: list[type] = [object]
    while pending:
        for each in type.__subclasses__(pending.pop()):
            if id(each) not in seen:
                seen.add(id(each))
                pending.append(each)
                yield each


def _is_virtual(each: type, kind: type) -> bool:
    try:
        return kind not in each.__mro__ and issubclass(each, kind)
    except Exception:  # any class may have any __subclasshook__
        return False

"""Functions, classes and objects of the notebook do on a worker what they do at home."""

from __future__ import annotations

import io
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.errors import PackageError
from t2notebook.protocol import archive
from t2notebook.protocol.pickling import Pickler
from tests.package.helpers import notebook, pack, python, run

#: The notebook's cells, and what a worker evaluates; its repr is to be what it is at home.
SAME = {
    "an attribute that the base has as well": (
        "class A: r = 1\nclass B(A): r = 1\ndef probe():\n    A.r = 5\n    return B.r, 'r' in vars(B)",
        "probe()",
    ),
    "attributes in their order": (
        "class A:\n    z = 1\n    a = 2\n    m = 3",
        "[name for name in vars(A) if len(name) == 1]",
    ),
    "__init_subclass__ with arguments": (
        """
        class Base:
            kinds = {}
            def __init_subclass__(cls, /, tag, **more):
                super().__init_subclass__(**more)
                cls.tag = tag
                Base.kinds[tag] = cls
        class A(Base, tag="a"): pass
        class B(A, tag="b"): pass
        """,
        "[(k, v.__name__, v.tag, v is {'a': A, 'b': B}[k]) for k, v in Base.kinds.items()]",
    ),
    "__init_subclass__ that counts": (
        """
        class Base:
            subclasses = []
            def __init_subclass__(cls): Base.subclasses.append(cls.__name__)
        class A(Base): pass
        """,
        "(type('C', (A,), {}).__name__, Base.subclasses)",
    ),
    "a metaclass with keywords": (
        """
        class Meta(type):
            made = []
            def __new__(meta, name, bases, names, *, unit):
                return super().__new__(meta, name, bases, names)
            def __init__(cls, name, bases, names, *, unit):
                super().__init__(name, bases, names)
                cls.unit = unit
                Meta.made.append(name)
            def __len__(cls): return 7
            def __setattr__(cls, name, value):
                if name == "fixed": raise AttributeError(name)
                super().__setattr__(name, value)
        class A(metaclass=Meta, unit="m"): fixed = 3
        class B(A, unit="s"): pass
        """,
        "(A.unit, B.unit, len(B), Meta.made, A.fixed, type(B) is Meta)",
    ),
    "a metaclass on top of ABCMeta": (
        """
        from abc import ABCMeta, abstractmethod
        class Meta(ABCMeta):
            def __new__(meta, name, bases, names, *, unit="m"):
                return super().__new__(meta, name, bases, names)
        class A(metaclass=Meta, unit="s"):
            @abstractmethod
            def f(self): ...
        A.register(int)
        class B(A):
            def f(self): return super().f()
        """,
        "(isinstance(3, A), isinstance('', A), sorted(A.__abstractmethods__), B().f())",
    ),
    "a metaclass without a hash": (
        "class Meta(type):\n    def __eq__(a, b): return True\nclass A(metaclass=Meta): x = 1",
        "A.x, type(A()).__name__",
    ),
    "enum with __init__": (
        """
        from enum import Enum
        class Planet(Enum):
            EARTH = (5.97e24, 6.3e6)
            MARS = (6.4e23, 3.4e6)
            def __init__(self, mass, radius):
                self.mass, self.radius = mass, radius
            @property
            def g(self): return round(6.67e-11 * self.mass / self.radius ** 2, 2)
        """,
        "[(p, p.g, p.value, Planet(p.value) is p, Planet[p.name] is p) for p in Planet]",
    ),
    "enum with __new__, data and documentation": (
        """
        from enum import Enum
        class Coordinate(bytes, Enum):
            'Where.'
            def __new__(cls, value, label, unit):
                self = bytes.__new__(cls, [value])
                self._value_, self.label, self.unit = value, label, unit
                return self
            X = (0, "P.X", "km")
            Y = (1, "P.Y", "km")
        """,
        "[(c.name, c.label, c.unit, bytes(c), Coordinate(c.value) is c) for c in Coordinate], Coordinate.__doc__",
    ),
    "enum that numbers itself": (
        """
        from enum import Enum
        class Auto(Enum):
            def __new__(cls):
                self = object.__new__(cls)
                self._value_ = len(cls.__members__) + 1
                return self
            A = ()
            B = ()
        """,
        "list(Auto), Auto(2)",
    ),
    "enum with aliases and equal, mutable values": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 1\n    C = [1]\n    D = [1]",
        "list(E.__members__.items()), E.B is E.A, E([1]), E.D is E.C",
    ),
    "enum of str, float, date and tuple": (
        """
        import datetime
        from enum import Enum, StrEnum, auto
        class S(str, Enum): A = "a"
        class T(StrEnum): LOW = auto()
        class F(float, Enum): H = 0.5
        class D(datetime.date, Enum): X = 2020, 1, 2
        class P(tuple, Enum): Q = (1, 2)
        """,
        "S.A + 'b', S('a') is S.A, T.LOW + 'x', F.H * 2, D.X.year, D.X, P.Q + (3,), P.Q",
    ),
    "enum with a dataclass mixed in": (
        """
        from dataclasses import dataclass
        from enum import Enum
        @dataclass
        class Creature:
            size: str
            legs: int
        class Animal(Creature, Enum):
            BEETLE = "small", 6
            DOG = "medium", 4
        """,
        "[(a.name, a.size, a.legs) for a in Animal], Animal.DOG is Animal['DOG']",
    ),
    "enum whose methods use its members": (
        """
        from enum import Enum
        class Step(Enum):
            UP = 1
            DOWN = -1
            def turned(self): return OPPOSITE[self]
            def default(self, other=None): return START
        OPPOSITE = {Step.UP: Step.DOWN, Step.DOWN: Step.UP}
        START = Step.DOWN
        """,
        "START.turned(), START.default() is Step.DOWN, OPPOSITE",
    ),
    "flags": (
        """
        from enum import Flag, IntFlag, auto
        class P(Flag):
            R = auto()
            W = auto()
            RW = R | W
        class N(IntFlag):
            A = 1
            B = 2
        both, more = P.R | P.W, N.A | 8
        """,
        "both, both is P.RW, ~P.R, more, more & 8, P(0), list(P.RW), P.R in both",
    ),
    "a member without its class by name": (
        "from enum import Enum\nred = Enum('Color', 'RED GREEN').RED",
        "red, type(red).GREEN",
    ),
    "singledispatch": (
        """
        from functools import singledispatch
        @singledispatch
        def show(x, deep=False):
            "How."
            return "?"
        @show.register
        def _(x: int): return f"int {x}"
        @show.register(list)
        def _(x): return [show(each) for each in x]
        show.note = "n"
        """,
        "show([1, 'a', [2]]), show.__doc__, show.__name__, show.note, list(show.registry), show.dispatch(bool)(True)",
    ),
    "singledispatchmethod": (
        """
        from functools import singledispatchmethod
        class A:
            @singledispatchmethod
            def f(self, x): return "?"
            @f.register
            def _(self, x: int): return self.f("a") + str(x)
        """,
        "A().f(1), A().f('x')",
    ),
    "cached_property": (
        """
        from functools import cached_property
        class A:
            n = 0
            @cached_property
            def x(self):
                "Doc."
                A.n += 1
                return A.n
        """,
        "(lambda a: (a.x, a.x, A.n, A.x.__doc__, A.x.attrname))(A())",
    ),
    "lru_cache, partial, wraps": (
        """
        from functools import lru_cache, partial, wraps
        @lru_cache(maxsize=9)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        def twice(f):
            @wraps(f)
            def wrapped(*a, **k): return 2 * f(*a, **k)
            return wrapped
        @twice
        def one(): return 1
        add = partial(lambda a, b=0: a + b, 3, b=4)
        """,
        "fib(40), fib.cache_info().maxsize, one(), one.__name__, one.__wrapped__(), add()",
    ),
    "properties and methods of classes of one's own": (
        """
        class classproperty(property):
            def __get__(self, obj, kind): return self.fget(kind)
        class logged(classmethod):
            note = "n"
            def __get__(self, obj, kind): return "seen", super().__get__(obj, kind)()
        class A:
            @classproperty
            def name(cls):
                "Doc."
                return cls.__name__
            @logged
            def f(cls): return cls.__name__
            @staticmethod
            def g(): return 3
            @property
            def x(self): return self._x
            @x.setter
            def x(self, value): self._x = value + 1
            def set(self): self.x = 1; return self.x
        class B(A): pass
        """,
        "A.name, B.name, B.f, A.g(), A().set(), vars(A)['name'].__doc__",
    ),
    "descriptors with __set_name__": (
        """
        class Field:
            def __set_name__(self, owner, name): self.owner, self.name = owner, name
            def __get__(self, obj, kind): return (self.name, self.owner.__name__)
        class A: x = Field()
        """,
        "A.x, A().x",
    ),
    "slots": (
        """
        from dataclasses import dataclass, field, replace
        class A:
            __slots__ = ("x", "__hidden", "__weakref__")
            def __init__(self): self.x, self.__hidden = 1, 2
            def get(self): return self.__hidden
        class B(A):
            __slots__ = {"y": "doc"}
        @dataclass(slots=True, frozen=True, order=True, kw_only=True)
        class D:
            n: int
            items: list = field(default_factory=list)
        d = D(n=2)
        """,
        "A().get(), hasattr(B(), '__dict__'), B.y.__doc__, d, replace(d, n=3), d < D(n=5), hasattr(d, '__dict__')",
    ),
    "dataclasses that a worker goes on with": (
        """
        from dataclasses import MISSING, KW_ONLY, dataclass, fields, make_dataclass, InitVar
        from typing import ClassVar
        @dataclass
        class A:
            x: int
            y: InitVar[int] = 2
            z: ClassVar[int] = 3
            _: KW_ONLY
            w: int = 4
            def __post_init__(self, y): self.sum = self.x + y
        def probe():
            B = make_dataclass("B", [("v", int, 9)], bases=(A,))
            return [f.name for f in fields(B)], B(1).sum, [f.default is MISSING for f in fields(A)], B(1, 5, 6, w=7)
        """,
        "probe()",
    ),
    "tuples and dicts with names": (
        """
        from collections import namedtuple
        from typing import NamedTuple, TypedDict
        P = namedtuple("P", "x y", defaults=[2])
        class Q(NamedTuple):
            "A point."
            x: int
            y: int = 2
            def sum(self): return self.x + self.y
        class T(TypedDict, total=False):
            a: int
        class U(T):
            b: str
        """,
        "P(1), Q(1), Q(3).sum(), Q(1)._replace(x=5), Q.__doc__, T(a=1), sorted(U.__optional_keys__), U.__total__,"
        " U.__required_keys__",
    ),
    "protocols": (
        """
        from typing import Protocol, runtime_checkable
        @runtime_checkable
        class Sized(Protocol):
            def size(self) -> int: ...
        class A:
            def size(self): return 1
        class C(Sized):
            def size(self): return 2
        """,
        "isinstance(A(), Sized), isinstance(1, Sized), C().size()",
    ),
    "generics": (
        """
        from typing import Generic, ParamSpec, TypeVar, TypeVarTuple, NewType, Callable
        T, P, Ts = TypeVar("T", bound=int), ParamSpec("P"), TypeVarTuple("Ts")
        Meters = NewType("Meters", float)
        class Stack(Generic[T]):
            def __init__(self): self.items: list[T] = []
        class Ints(Stack[int]): pass
        def call(f: Callable[P, T]) -> T: return f()
        """,
        "Stack[int], Ints.__orig_bases__, Stack.__parameters__, T.__bound__, T in Stack.__parameters__, P, Ts,"
        " Meters(3), Meters, Meters.__module__, T.__module__, call(lambda: 4)",
    ),
    "abstract classes with virtual ones": (
        """
        from abc import ABC, abstractmethod
        from collections.abc import Sized, Mapping
        class A(ABC):
            @abstractmethod
            def f(self): ...
        class V: pass
        A.register(V)
        class M(Mapping):
            def __getitem__(self, k): return 1
            def __iter__(self): return iter("ab")
            def __len__(self): return 2
        def probe():
            try: A()
            except TypeError as error: return "abstract" in str(error)
        """,
        "isinstance(V(), A), issubclass(int, A), probe(), dict(M()), isinstance(M(), Sized)",
    ),
    "classes that name themselves and each other": (
        """
        class Node:
            kinds = []
            def __init__(self, *children): self.children = children
            def depth(self): return 1 + max((c.depth() for c in self.children), default=0)
            def copy(self): return __class__(*self.children)
            class Inner:
                def outer(self): return Node
        Node.kinds.append(Node)
        Node.itself = Node
        class Leaf(Node):
            def depth(self): return 10 + super().depth()
        """,
        "Node(Leaf(), Node()).depth(), Node().Inner().outer() is Node, Node.itself is Node.kinds[0] is Node,"
        " type(Leaf().copy()).__name__",
    ),
    "variables that functions share": (
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            def get(): return n
            return up, get
        up, get = counter()
        def recursive():
            def f(n): return n and n + f(n - 1)
            return f
        f = recursive()
        """,
        "(up(), up(), get(), f(4))",
    ),
    "a variable that is not bound yet": (
        """
        def make():
            def f():
                try: return late
                except NameError: return "not yet"
            if f is None: late = 1
            return f
        f = make()
        """,
        "f()",
    ),
    "attributes of functions": (
        """
        def f(a: int, b: "str" = "x", *, c=3) -> list:
            "Doc."
            return [a, b, c]
        f.note = 1
        """,
        "f(1), f.__doc__, f.note, f.__annotations__, f.__qualname__, f.__module__, f.__kwdefaults__",
    ),
    "context variables": (
        """
        from contextvars import ContextVar
        a, b, c = ContextVar("a", default=1), ContextVar("b"), ContextVar("c", default=[0])
        b.set(2)
        c.set(3)
        def probe():
            return a.get(), b.get(), c.get(), a.name, b.get(9)
        """,
        "probe()",
    ),
    "loggers and modules": (
        "import logging, os.path, xml.dom.minidom\nlog = logging.getLogger('x.y')\nm = xml",
        "log.name, log is logging.getLogger('x.y'), os.path.basename('a/b'), m.dom.minidom.Node.ELEMENT_NODE",
    ),
    "exceptions": (
        """
        class E(ValueError):
            def __init__(self, code, *, detail): super().__init__(f"code {code}"); self.detail = detail
        """,
        "(lambda e: (str(e), e.detail, isinstance(e, ValueError)))(E(3, detail='d'))",
    ),
    "instances of a class with __slots__ and a dict": (
        "class A:\n    __slots__ = ('x', '__dict__')\na = A()\na.x, a.y = 1, 2",
        "a.x, a.y, sorted(a.__dict__)",
    ),
    "an attribute __dict__ of one's own": (
        "class A:\n    __slots__ = ()\n    __dict__ = property(lambda self: {'a': 1})",
        "A().__dict__",
    ),
    "classes made by type()": (
        "A = type('A', (dict,), {'f': lambda self: len(self)})",
        "A(a=1).f(), A.__name__",
    ),
}
if sys.version_info >= (3, 12):
    SAME |= {
        "type aliases": (
            """
            type Pair = tuple[int, int]
            type Tree = list[Tree] | int
            type Map[K] = dict[K, Pair]
            """,
            "Pair.__value__, Pair, Tree.__value__, Map[int], Map.__type_params__, Pair.__module__",
        ),
        "generics by syntax": (
            """
            class Box[T: int, *Ts, **P]:
                def __init__(self, x: T): self.x = x
                def get[U](self, u: U) -> T | U: return self.x or u
            def first[T](xs: list[T]) -> T: return xs[0]
            class Ints(Box[int, str, [int]]): pass
            """,
            "Box[int, str, [int]], Box(2).get(1), first([4]), Box.__type_params__, Ints.__orig_bases__,"
            " first.__type_params__, Box.__type_params__[0].__bound__, Box.__type_params__[0].__infer_variance__",
        ),
        "overridden methods": (
            "from typing import override\nclass A:\n    @override\n    def f(self): return 1",
            "A().f(), A.f.__override__",
        ),
    }
if sys.version_info >= (3, 13):
    SAME["type parameters with defaults"] = (
        "class Box[T = int]: pass",
        "Box.__type_params__[0].__default__, Box.__type_params__[0].has_default(), Box.__static_attributes__",
    )

LIBRARIES = {
    "msgspec": (
        """
        import msgspec
        class Base(msgspec.Struct, tag="b", rename="camel"):
            a_x: int
            b: list = []
            def total(self): return self.a_x + len(self.b)
        class S(Base, kw_only=True, frozen=True, order=True):
            c: int | None
            d: int = 4
            kind = "k" if False else "l"
        s = S(1, c=None)
        """,
        's, s.total(), msgspec.json.encode(s), msgspec.json.decode(b\'{"type":"b","aX":3,"c":null}\', type=S),'
        " S.__struct_config__.frozen, s < S(2, c=None), S.kind",
    ),
    "attrs": (
        """
        import attrs
        @attrs.define
        class A:
            x: int = attrs.field(validator=attrs.validators.instance_of(int))
            y: list = attrs.Factory(list)
            def get(self): return __class__(self.x)
        """,
        "A(1), A(1).get(), attrs.evolve(A(2), x=4), hasattr(A(1), '__dict__'), [f.name for f in attrs.fields(A)]",
    ),
    "pydantic": (
        """
        import pydantic
        class A(pydantic.BaseModel):
            x: int
            y: list[int] = []
            @pydantic.field_validator("x")
            @classmethod
            def positive(cls, value):
                if value < 0: raise ValueError("negative")
                return value
        class B(A, frozen=True):
            z: A | None = None
        b = B(x="3", z={"x": 1})
        """,
        "b, b.model_dump_json(), B.model_validate({'x': 4}), list(B.model_fields), A(x=1) == A(x=1)",
    ),
}


def same(setup: str, cell: str, directory: Path) -> None:
    namespace = notebook(setup)
    package = pack(cell, namespace, directory)
    here = eval(textwrap.dedent(cell), notebook(setup))
    assert run([package.path]) == [("ok", repr(here))]


@pytest.mark.parametrize("name", SAME)
def test_it_is_the_same_on_a_worker(name: str, tmp_path: Path) -> None:
    same(*SAME[name], tmp_path)


@pytest.mark.parametrize("name", LIBRARIES)
def test_classes_of_libraries_are_the_same_on_a_worker(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    same(*LIBRARIES[name], tmp_path)


def test_annotations_may_name_what_does_not_exist(tmp_path: Path) -> None:
    """From Python 3.14 on they are looked up when somebody asks."""
    text = "def f(a: int) -> Later: return a\nclass A:\n    x: Later\n    y: int"
    future = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    package = pack("f(1), A.__name__, f.__annotations__['return']", notebook(future + text), tmp_path)
    assert run([package.path]) == [("ok", "(1, 'A', 'Later')")]


#: What a cell uses, and what the error says of it.
REFUSED = {
    "a lock of a class": (
        "import threading\nclass A:\n    lock = threading.Lock()",
        "A",
        "'A' cannot be sent to workers: A.lock is a _thread.lock",
    ),
    "a lock of a class above": (
        "import threading\nclass A:\n    lock = threading.Lock()\nclass B(A): pass",
        "B()",
        "'B' cannot be sent to workers: A.lock is a _thread.lock",
    ),
    "a lock of an object's class": (
        "import threading\nclass A:\n    lock = threading.Lock()\na = A()",
        "a",
        "'a' cannot be sent to workers: A.lock is a _thread.lock",
    ),
    "a lock in a slot": (
        "import threading\nclass A: __slots__ = ('lock',)\na = A()\na.lock = threading.Lock()",
        "a",
        "'a' cannot be sent to workers: a.lock is a _thread.lock",
    ),
    "a default of a method": (
        "import threading\nclass A:\n    @classmethod\n    def f(cls, lock=threading.Lock()): pass",
        "A.f()",
        "'A' cannot be sent to workers: a default of function A.f is a _thread.lock",
    ),
    "a weak reference": (
        "import weakref\nclass A: pass\na = A()\na.parent = weakref.ref(A)",
        "a",
        "'a' cannot be sent to workers: a.parent is a weakref.ReferenceType",
    ),
    "what an implementation of singledispatch uses": (
        "import functools, threading\nlock = threading.Lock()\n@functools.singledispatch\ndef f(x): return lock",
        "f(1)",
        "'lock' (_thread.lock) cannot be sent to workers: cannot pickle '_thread.lock' object; it is used by function"
        " 'f'",
    ),
    "what a cached property uses": (
        "import functools, threading\nlock = threading.Lock()\nclass A:\n    @functools.cached_property\n"
        "    def x(self): return lock",
        "A().x",
        "'lock' (_thread.lock) cannot be sent to workers: cannot pickle '_thread.lock' object; it is used by function"
        " 'A.x'",
    ),
    "a default of a cached function": (
        "import functools, threading\n@functools.cache\ndef f(lock=threading.Lock()): pass",
        "f()",
        "'f' cannot be sent to workers: a default of function f is a _thread.lock",
    ),
    "a generator": (
        "g = (x for x in 'ab')",
        "g",
        "'g' (generator) cannot be sent to workers: cannot pickle 'generator'",
    ),
    "a file to write to": (
        "import io, os\nf = io.open(os.devnull, 'w')",
        "f",
        "'f' (_io.TextIOWrapper) cannot be sent",
    ),
    "a thread's own": (
        "import threading\nlocal = threading.local()",
        "local",
        "'local' (_thread._local) cannot be sent",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_travel_is_named_as_the_notebook_names_it(name: str, tmp_path: Path) -> None:
    setup, cell, message = REFUSED[name]
    namespace = notebook(setup)
    try:
        with pytest.raises(PackageError) as caught:
            pack(cell, namespace, tmp_path)
    finally:
        if name == "a file to write to":
            namespace["f"].close()
    assert message in str(caught.value)
    assert "Make it inside the cell, or leave it out" in str(caught.value)


def test_a_class_whose_metaclass_insists_on_arguments_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "units.py").write_text(
        "class Meta(type):\n    def __new__(meta, name, bases, names, *, unit):\n"
        "        return super().__new__(meta, name, bases, names)\n"
        "    def __init__(cls, name, bases, names, *, unit): pass\n"
        "class Base:\n    def __init_subclass__(cls, /, tag): cls.tag = tag\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    namespace = notebook(
        "from units import Meta, Base\nclass A(metaclass=Meta, unit=1): pass\nclass B(Base, tag=2): pass"
    )
    with pytest.raises(PackageError, match="class 'A' was made with unit=, which its metaclass 'Meta' needs"):
        pack("A", namespace, tmp_path, local_dirs=[tmp_path])
    package = pack("B.tag", namespace, tmp_path, local_dirs=[tmp_path])
    assert run([package.path]) == [("ok", "2")]


def copies(*values: Any) -> list[Any]:
    """Pickle values as a worker does and unpickle them in this process."""
    target = io.BytesIO()
    Pickler(target, protocol=5).dump(list(values))
    back: list[Any] = archive.unpickle(target.getvalue(), [])
    return back


def test_what_comes_back_is_what_is_here() -> None:
    names = notebook(
        """
        from dataclasses import dataclass
        from enum import Enum, Flag
        from typing import Generic, TypeVar
        class Meta(type): pass
        class A(metaclass=Meta): __slots__ = ("x",)
        class E(Enum):
            X = 1, 2
            def __init__(self, a, b): self.a = a
        class F(Flag):
            R = 1
            W = 2
        T = TypeVar("T")
        class G(Generic[T]): pass
        """
    )
    kinds = [names[name] for name in ("Meta", "A", "E", "F", "T", "G")]
    back = copies(*kinds, names["E"].X, names["F"].R | names["F"].W, names["A"]())
    assert all(left is right for left, right in zip(back, kinds, strict=False))
    assert back[6] is names["E"].X and back[7] is names["F"](3) and type(back[8]) is names["A"]


CHANGED = {
    "another way to take functions and classes apart": "def hook(self, obj):\n"
    "    found = reducer(self, obj)\n"
    "    return found if found is NotImplemented else (print, ())\n"
    "cloudpickle.Pickler.reducer_override = hook",
    "an error where it takes them apart": "def hook(self, obj):\n"
    "    found = reducer(self, obj)\n"
    "    if found is not NotImplemented: raise KeyError(obj)\n"
    "    return found\n"
    "cloudpickle.Pickler.reducer_override = hook",
    "no hook": "del cloudpickle.Pickler.reducer_override",
    "no methods of its own": "for name in ('_dynamic_function_reduce', '_function_reduce', '_function_getnewargs'):\n"
    "    delattr(cloudpickle.Pickler, name)\n"
    "import types, sys\n"
    "def hook(self, obj):\n"
    "    if not isinstance(obj, (type, types.FunctionType)): return NotImplemented\n"
    "    return NotImplemented if cloudpickle._should_pickle_by_reference(obj) else (print, ())\n"
    "cloudpickle.Pickler.reducer_override = hook",
}


@pytest.mark.parametrize("change", CHANGED)
def test_another_cloudpickle_changes_nothing(change: str, tmp_path: Path) -> None:
    """What it does with functions and classes is its own affair: it has changed in a patch release before."""
    names = ["variables that functions share", "enum with __init__", "slots", "generics", "singledispatch"]
    script = f"""
import sys
from pathlib import Path
from cloudpickle import cloudpickle
reducer = cloudpickle.Pickler.reducer_override
{CHANGED[change]}
from tests.package.helpers import notebook, pack
from tests.package.test_by_value import SAME
for name in {names!r}:
    print(pack(SAME[name][1], notebook(SAME[name][0]), Path(sys.argv[1])).path)
"""
    paths = [Path(path) for path in python(script, str(tmp_path)).split()]
    assert run(paths) == [("ok", repr(eval(SAME[name][1], notebook(SAME[name][0])))) for name in names]

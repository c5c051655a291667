"""Pickles of jobs: the same bytes for the same content, without copies, and with a clear word about what cannot."""

from __future__ import annotations

import ast
import functools
import io
import pickle
import sqlite3
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from t2notebook.model.errors import PackageError
from t2notebook.package import cell as capture
from t2notebook.package.buffers import LARGE, Sink
from t2notebook.package.local_modules import Import
from t2notebook.package.pickling import Pickler, pickle_job
from t2notebook.protocol import archive
from t2notebook.protocol.reducers.code_objects import reduce_code
from tests.package.helpers import notebook, pack, python, run

# Values


def members(value: Any) -> list[tuple[str, archive.Bytes]]:
    sink, _ = pickle_job(print, {"value": value})
    return [
        (archive.PICKLE, sink.pickled),
        *((f"{archive.BUFFERS}{at:06d}", each.raw()) for at, each in enumerate(sink.buffers)),
    ]


def pack_value(value: Any) -> bytes:
    stream = io.BytesIO()
    archive.write(stream, members(value), {"kind": "job"})
    return stream.getvalue()


def unpack_value(data: bytes) -> Any:
    return archive.Archive(bytearray(data)).load()["config"]["value"]


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, pd.DataFrame):
        return left.equals(right) and list(left.columns) == list(right.columns)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or left != left


large = st.builds(
    lambda unit, count: unit * count, st.binary(min_size=1, max_size=8), st.integers(8000, 70_000)
)
arrays = st.one_of(
    nps.arrays(
        st.sampled_from([np.uint8, np.int64, np.float32, np.complex128]), nps.array_shapes(max_side=8)
    ),
    st.builds(
        lambda n, order: np.arange(n * 3.0).reshape(3, n, order=order),
        st.integers(1, 9000),
        st.sampled_from("CF"),
    ),
    st.builds(lambda n: np.arange(n)[::2], st.integers(2, 40_000)),
)
frames = st.builds(
    lambda values, names: pd.DataFrame({"a": values, "b": [str(v) for v in values], names: values}),
    st.lists(st.integers(-9, 9), max_size=5),
    st.text(min_size=1, max_size=3).filter(lambda name: name not in "ab"),
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=20),
    large, large.map(bytearray), arrays, frames, st.frozensets(st.integers(), max_size=3),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(values)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert same(unpack_value(pack_value(value)), value)


@settings(deadline=None, max_examples=60)
@given(values)
def test_equal_input_gives_equal_bytes(value: Any) -> None:
    assert pack_value(value) == pack_value(value)


@settings(deadline=None, max_examples=60)
@given(values, st.data())
def test_damage_is_detected(value: Any, data: st.DataObject) -> None:
    stream = io.BytesIO()
    whole = members(value)
    digest = archive.write(stream, whole, {})
    damaged = bytearray(stream.getvalue())
    opened = archive.Archive(damaged)
    opened.verify(digest)
    name = data.draw(st.sampled_from([name for name in opened if len(opened.member(name))]))
    view = opened.member(name)
    view[data.draw(st.integers(0, len(view) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(archive.ArchiveError):
        archive.Archive(bytes(damaged)).verify(digest)


@pytest.mark.parametrize("size", [0, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_lie_beside_the_pickle(kind: type, size: int) -> None:
    value = kind(b"\x95" * size)
    shared = [value, {"again": value}, "text" * size]
    sink = Sink()
    Pickler(sink).dump(shared)
    assert len(sink.buffers) == (size >= LARGE)
    back = pickle.loads(sink.pickled, buffers=sink.buffers)
    assert back == shared
    assert back[0] is back[1]["again"]
    assert type(back[0]) is kind


def test_what_looks_like_a_frame_stays_whole() -> None:
    value = b"\x95" + (100).to_bytes(8, "little") + bytes(LARGE)
    assert unpack_value(pack_value([value, value])) == [value, value]


def test_nothing_large_is_copied() -> None:
    array, data, buffer = np.ones(100_000), bytes(LARGE), bytearray(LARGE)
    sink, account = pickle_job(print, {"x": [array, {"y": data}], "z": buffer, "small": 1})
    addresses = [np.frombuffer(each, "u1").ctypes.data for each in sink.buffers]
    assert addresses == [np.frombuffer(each, "u1").ctypes.data for each in (array, data, buffer)]
    sizes = {"config['x']": array.nbytes + LARGE, "config['z']": LARGE, "config['small']": 0}
    assert account.sizes == pytest.approx(sizes, abs=1000)


def test_arrays_stay_writable_or_read_only() -> None:
    frozen = np.ones(100_000)
    frozen.flags.writeable = False
    loose, tight, small = unpack_value(pack_value([np.ones(100_000), frozen, np.ones(3)]))
    assert (loose.flags.writeable, tight.flags.writeable, small.flags.writeable) == (True, False, True)


def test_many_small_arrays_are_no_members_of_their_own() -> None:
    assert len(members([np.arange(5) + n for n in range(100)])) == 1


def test_sizes_are_told_by_variable() -> None:
    namespace = notebook(
        "import numpy as np\nx = np.ones(100_000)\ny = b'y' * 200_000\nz = 1\ndef f(): return y, z"
    )
    cell = capture.cell_function("f()\nx", namespace, name="x")
    _, account = pickle_job(cell, {})
    assert account.sizes == pytest.approx({"f": 0, "y": 200_000, "z": 0, "x": 800_000}, abs=1000)


def test_imports_in_a_long_cell_are_seen() -> None:
    lines = [f"x{n} = {n + 1000}" for n in range(400)]
    source = "\n".join([*lines, "import a.b, c as d", "from e.f import g as h, i", "def k():\n    import l"])
    _, account = pickle_job(capture.cell_function(source, {}, name="x"), {})
    assert account.mentions.imports == {Import("a.b"), Import("c"), Import("e.f", ("g", "i")), Import("l")}


# Reproducibility

SCRIPT = """
import sys, linecache
from pathlib import Path
from tests.package.helpers import notebook, pack

seed, directory = sys.argv[1:]
if seed == "1":
    import xml.dom.minidom, json, decimal, asyncio  # another history: more modules, other interned strings
    strings = ["".join(["a", "lpha"]), "la mbda", "x" * 3]
namespace = notebook()
cells = {
    "data": "import numpy as np\\nimport xml.dom\\nbig = np.arange(100_000)\\n"
    "table = {'alpha': [1, 'la mbda'], 'b': (big, big)}",
    "code": '''
def f(x, *, y: int = 3):
    "Doc string."
    class A:
        z = k
    return x in {"p", "q", "r", 1, (2, 3)}, A.z, g, [lambda: table for _ in ()]
def g(n=None):
    return n and f(n), xml.dom.Node, np.linalg.norm(big)
k = "la mbda"
h = lambda: k
''',
}
for name, source in cells.items():
    path = f"/tmp/ipykernel_{1000 + int(seed)}/{name}.py"
    linecache.cache[path] = (len(source), None, source.splitlines(True), path)
    exec(compile(source, path, "exec"), namespace)
cell = "import json\\nx = f(1)\\nx, g, h(), {'a', 'b', 'c'}"
package = pack(cell, namespace, Path(directory), config={"k": [1, "x"]})
print(package.digest)
"""


def test_two_kernels_make_the_same_package(tmp_path: Path) -> None:
    digests = {python(SCRIPT, seed, str(tmp_path), PYTHONHASHSEED=seed) for seed in "123"}
    assert len(digests) == 1
    (path,) = tmp_path.iterdir()
    assert run([path])[0][0] == "ok"


def test_the_same_cell_again_makes_the_same_package(tmp_path: Path) -> None:
    namespace = notebook("def f():\n    return {1, 'a'} and x\nx = {'a': [1.5]}\nclass A: pass\na = A()")
    assert pack("f(), a", namespace, tmp_path) == pack("f(), a", namespace, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


KERNEL = """
import asyncio, sys
from jupyter_client.manager import start_new_kernel

cells = [
    "import math, os\\nfrom functools import lru_cache",
    "def area(r):\\n    class C:\\n        pi = math.pi\\n    return C.pi * r ** 2 + (r in {'a', 'b', 'c'})",
    "k = {'radius': 2, 'names': ['x', 'y']}",
    "from pathlib import Path\\nfrom t2notebook.package.cell import cell_function\\n"
    "from t2notebook.package.job_package import build",
    "cell = cell_function('area(k[\\"radius\\"])', get_ipython().user_ns, name='x')\\n"
    "print(build(cell, {}, directory=Path(%r), local_dirs=[Path.cwd()], name='x').digest)" % sys.argv[1],
]
manager, client = start_new_kernel(kernel_name="python3")
try:
    def show(message):
        if message["msg_type"] == "stream":
            print(message["content"]["text"], end="")
    for cell in cells:
        reply = client.execute_interactive(cell, timeout=60, output_hook=show)
        assert reply["content"]["status"] == "ok", reply["content"]
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def test_two_real_kernels_make_the_same_package_and_tracebacks_have_their_lines(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel")
    digests = {python(KERNEL, str(tmp_path), PYTHONHASHSEED=seed) for seed in "12"}
    assert len(digests) == 1, digests
    (path,) = tmp_path.iterdir()
    assert run([path]) == [("ok", str(4 * np.pi))]
    assert b"ipykernel_" not in path.read_bytes()


def test_tracebacks_show_the_lines_of_earlier_cells(tmp_path: Path) -> None:
    script = """
import linecache, sys
from pathlib import Path
from tests.package.helpers import notebook, pack
namespace = notebook()
source = "def f(x):\\n    return 1 / x\\n"
path = "/tmp/ipykernel_42/3141.py"
linecache.cache[path] = (len(source), None, source.splitlines(True), path)
exec(compile(source, path, "exec"), namespace)
print(pack("f(0)", namespace, Path(sys.argv[1])).path)
"""
    ((kind, text),) = run([Path(python(script, str(tmp_path)).strip())])
    lines = [line.strip() for line in text.splitlines()]
    assert kind == "error"
    assert "return 1 / x" in lines
    assert any(line.startswith('File "<cell ') and line.endswith('>", line 2, in f') for line in lines)


@pytest.mark.parametrize("change", ["co_filename='<dynamic-code>'", None])
def test_functions_keep_their_source_whatever_cloudpickle_does_with_code(
    change: str | None, tmp_path: Path
) -> None:
    """cloudpickle 3.1.3 calls every file ``<dynamic-code>``; another one may do without that function."""
    script = f"""
import linecache, sys
from pathlib import Path
from cloudpickle import cloudpickle
change = {change!r}
if change is None:
    del cloudpickle._code_reduce
else:
    reduce = cloudpickle._code_reduce
    cloudpickle._code_reduce = lambda code: reduce(eval(f"code.replace({{change}})"))
from tests.package.helpers import notebook, pack
namespace = notebook()
source = "def f(x):\\n    return [1 / y for y in x]\\n"
path = "/tmp/ipykernel_42/3141.py"
linecache.cache[path] = (len(source), None, source.splitlines(True), path)
exec(compile(source, path, "exec"), namespace)
for cell in ("import inspect; inspect.getsource(f)", "f([0])"):
    print(pack(cell, namespace, Path(sys.argv[1])).path)
"""
    paths = python(script, str(tmp_path)).split()
    (_, source), (kind, text) = run([Path(path) for path in paths])
    assert ast.literal_eval(source) == "def f(x):\n    return [1 / y for y in x]\n"
    assert kind == "error" and text.count("return [1 / y for y in x]") == 2 - (sys.version_info >= (3, 12))


def test_code_comes_back_whole() -> None:
    """Every documented attribute, so that a Python with a new one is noticed."""
    namespace: dict[str, Any] = {}
    exec("def f(a, /, b, *c, d=1, **e):\n    async def g(): return a, d, x\n    return g, {1, 2}", namespace)
    code = namespace["f"].__code__
    make, values = reduce_code(code)
    assert make(*values) == code
    for name in dir(code):
        if name.startswith("co_") and name != "co_lnotab" and not callable(getattr(code, name)):
            assert getattr(make(*values), name) == getattr(code, name), name
    assert make(*reduce_code(code, co_filename="<x>")[1]) == code.replace(co_filename="<x>")


# What cannot travel


class Holder:
    def __init__(self, part: Any) -> None:
        self.fine, self.part = 1, part


class Refuses:
    def __reduce__(self) -> Any:
        raise ValueError("no\nway")


SETUP = """
import functools
nested = {"a": 1, "lock": lock}
deep = [1, {"x": [holder]}]
part = functools.partial(print, 1, key=lock)
def load(x):
    y = 1
    return db.execute(x)
def around():
    inner = lock
    return lambda: inner
closure = around()
def default(x=lock): pass
keys = {lock: 1}
recursive = []
for _ in range(100_000): recursive = [recursive]
"""
ADVICE = ". Make it inside the cell, or leave it out"
LOCK = "is a _thread.lock (cannot pickle '_thread.lock' object)"
MESSAGES = {
    "1\n\ndb": (
        "the notebook's variable 'db' (sqlite3.Connection) cannot be sent to workers: "
        "cannot pickle 'sqlite3.Connection' object; it is used by the cell in line 3"
    ),
    "load('')": (
        "the notebook's variable 'db' (sqlite3.Connection) cannot be sent to workers: "
        "cannot pickle 'sqlite3.Connection' object; it is used by function 'load' (line 7 of its cell)"
    ),
    "nested": f"the notebook's variable 'nested' cannot be sent to workers: nested['lock'] {LOCK}"
    "; it is used by the cell in line 1",
    "deep": f"the notebook's variable 'deep' cannot be sent to workers: deep[1]['x'][0].part {LOCK}"
    "; it is used by the cell in line 1",
    "part": f"the notebook's variable 'part' cannot be sent to workers: part.keywords['key'] {LOCK}"
    "; it is used by the cell in line 1",
    "closure": f"the notebook's variable 'closure' cannot be sent to workers: 'inner' around function closure {LOCK}"
    "; it is used by the cell in line 1",
    "default": f"the notebook's variable 'default' cannot be sent to workers: a default of function default {LOCK}"
    "; it is used by the cell in line 1",
    "keys": f"the notebook's variable 'keys' cannot be sent to workers: a key of keys {LOCK}"
    "; it is used by the cell in line 1",
    "recursive": "the notebook's variable 'recursive' (list) cannot be sent to workers: it is nested too deeply"
    "; it is used by the cell in line 1",
    "[refuses]": "the notebook's variable 'refuses' (tests.package.test_pickling.Refuses) cannot be sent to workers: "
    "ValueError: no way; it is used by the cell in line 1",
}


def culprits() -> dict[str, Any]:
    namespace = notebook()
    namespace |= {"lock": threading.Lock(), "db": sqlite3.connect(":memory:"), "refuses": Refuses()}
    namespace["holder"] = Holder(namespace["lock"])
    exec(SETUP.lstrip(), namespace)
    return namespace


@pytest.mark.parametrize("source", MESSAGES)
def test_an_error_names_the_variable_its_part_its_user_and_the_reason(source: str, tmp_path: Path) -> None:
    namespace = culprits()
    with pytest.raises(PackageError) as caught:
        pack(source, namespace, tmp_path)
    namespace["db"].close()
    message = " ".join(str(caught.value).split())
    for kind in ("Holder", "Refuses"):
        message = message.replace(f"({__name__}.{kind})", f"(tests.package.test_pickling.{kind})")
    assert message == MESSAGES[source] + ADVICE
    assert list(tmp_path.iterdir()) == []


def test_an_included_variable_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(
        PackageError, match=r"cannot pickle '_thread.lock' object; -i names it\. Make it inside"
    ):
        pack("1", {"lock": threading.Lock()}, tmp_path, include=["lock"])


@pytest.mark.parametrize(
    ("worker", "config", "message"),
    [
        (
            functools.partial(print, threading.Lock()),
            {},
            f"the worker function 'partial' cannot be sent to workers: partial.args[0] {LOCK}",
        ),
        (
            print,
            {"a": {"b": threading.Lock()}},
            f"the job's config['a'] cannot be sent to workers: config['a']['b'] {LOCK}",
        ),
    ],
)
def test_errors_without_a_cell(worker: Any, config: Any, message: str) -> None:
    with pytest.raises(PackageError) as caught:
        pickle_job(worker, config)
    assert str(caught.value) == f"{message}. Make it inside the worker function, or leave it out"


def test_the_search_for_a_culprit_ends_in_time(tmp_path: Path) -> None:
    script = """
    import threading, time
    from t2notebook.model.errors import PackageError
    from t2notebook.package.pickling import pickle_job
    lock = threading.Lock()
    value = [[{"n": n, "m": [n]} for n in range(100_000)] for _ in range(5)] + [lock]
    start = time.monotonic()
    try:
        pickle_job(print, {"value": value})
    except PackageError as error:
        print(time.monotonic() - start < 10, error)
    """
    assert python(textwrap.dedent(script)).startswith("True the job's config['value']")


# Memory


def test_a_large_array_is_packed_without_a_second_copy(tmp_path: Path) -> None:
    script = """
    import resource, sys, tracemalloc
    from pathlib import Path
    import numpy as np
    from tests.package.helpers import notebook, pack
    namespace = notebook()
    namespace["big"] = np.ones(25_000_000)
    namespace["data"] = {"raw": bytearray(50_000_000), "bytes": bytes(50_000_000)}
    pack("1", namespace, Path(sys.argv[1]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    package = pack("big, data", namespace, Path(sys.argv[1]))
    unit = 1 if sys.platform == "darwin" else 1024
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
    print(tracemalloc.get_traced_memory()[1], package.size, dict(package.contents))
    """
    resident, traced, size, contents = python(textwrap.dedent(script), str(tmp_path)).split(maxsplit=3)
    assert int(size) > 300_000_000
    assert int(traced) < 5_000_000
    assert int(resident) < 30_000_000
    assert ast.literal_eval(contents) == pytest.approx({"big": 200_000_000, "data": 100_000_000}, abs=1000)


def test_what_cannot_travel_is_told_without_pickles_own_error() -> None:
    with pytest.raises(PackageError, match=r"cannot pickle '_thread\.lock' object") as info:
        pickle_job(print, {"x": threading.Lock()})
    assert info.value.__cause__ is None and info.value.__suppress_context__

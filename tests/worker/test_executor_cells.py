"""Real cells, packed as the notebook packs them, on a real executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2notebook.package.cell import cell_function
from t2notebook.package.job_package import build
from tests.worker.fakes import FakeAgent, FakeSession

CELL = """\
import numpy as np
from beside import scale

part = data[env.worker_id :: env.number_of_workers]
total = scale(part.sum())
total / divisor
"""
BESIDE = """\
def scale(x):
    return check(x) * 10

def check(x):
    if x > 1000: raise ValueError('too large')
    return x
"""


def end_of_cell(session: FakeSession, agent: FakeAgent, tmp_path: Path, **namespace: Any) -> dict[str, Any]:
    notebook = tmp_path / "notebook"
    notebook.mkdir(exist_ok=True)
    (tmp_path / "packages").mkdir(exist_ok=True)
    (notebook / "beside.py").write_text(BESIDE)
    function = cell_function(CELL, {"__name__": "__main__", **namespace}, name="pi")
    built = build(function, {}, directory=tmp_path / "packages", local_dirs=[notebook], name="pi")
    session.packages[built.digest] = built.path.read_bytes()
    launch = session.launch(built.digest, number_of_workers=1)
    return agent.end_of(agent.launch(launch, f"task-{len(session.requests)}"))


def test_cells(session: FakeSession, agent: FakeAgent, tmp_path: Path) -> None:
    import numpy as np

    end = end_of_cell(session, agent, tmp_path, data=np.arange(10), divisor=3)
    assert end["state"] == "TASK_FINISHED", end
    assert session.result() == 150

    end = end_of_cell(session, agent, tmp_path, data=np.arange(10), divisor="three")
    assert "UFuncTypeError" in end["message"] or "TypeError" in end["message"]
    lines = session.facts()["error"]["traceback"].splitlines()
    assert '"<cell pi>", line 6' in lines[1] and lines[2] == "    total / divisor"

    end = end_of_cell(session, agent, tmp_path, data=np.arange(100), divisor=1)
    assert end["message"] == "ValueError: too large"
    traceback = session.facts()["error"]["traceback"]
    assert '"<cell pi>", line 5' in traceback.splitlines()[1]
    assert "total = scale(part.sum())" in traceback
    assert "if x > 1000: raise ValueError('too large')" in traceback
    assert "worker/run" not in traceback and "package/capture" not in traceback


def result_of(
    session: FakeSession, agent: FakeAgent, tmp_path: Path, source: str, namespace: dict[str, Any]
) -> Any:
    (tmp_path / "packages").mkdir(exist_ok=True)
    function = cell_function(source, namespace, name="pi")
    built = build(function, {}, directory=tmp_path / "packages", local_dirs=[], name="pi")
    session.packages[built.digest] = built.path.read_bytes()
    launch = session.launch(built.digest, number_of_workers=1)
    end = agent.end_of(agent.launch(launch, f"task-{len(session.requests)}"))
    assert end["state"] == "TASK_FINISHED", (end, session.facts())
    return session.result()


MAIN = """\
import multiprocessing, pickle, sys, typing
class A:
    other: "A"
def sq(x):
    return x * x
def spawned(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(abs, [-1])
with multiprocessing.get_context("fork").Pool(2) as pool:
    squares = pool.map(sq, [1, 2]) + pool.map(there, [1])
(
    squares,
    type(pickle.loads(pickle.dumps(A()))) is A,
    typing.get_type_hints(A) == {"other": A},
    vars(sys.modules["__main__"]) is globals(),
    spawned("spawn"),
)
"""


def test_main_is_the_notebook(session: FakeSession, agent: FakeAgent, tmp_path: Path) -> None:
    """What a cell defines can be pickled by name, and looked up in __main__ as in a notebook."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def there(x): return x + 1", namespace)
    found = result_of(session, agent, tmp_path, MAIN, namespace)
    assert found == ([1, 4, 2], True, True, True, [1])


def test_main_is_that_of_a_submitted_function(session: FakeSession, agent: FakeAgent) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": "/nowhere/script.py"}
    exec(
        "import multiprocessing as mp\ndef sq(x): return x * x\n"
        "def f(env):\n"
        "    with mp.get_context('fork').Pool(1) as pool: squares = pool.map(sq, [3])\n"
        "    with mp.get_context('spawn').Pool(1) as pool: return squares + pool.map(abs, [-1])\n",
        namespace,
    )
    digest = session.add(namespace["f"])
    end = agent.end_of(agent.launch(session.launch(digest)))
    assert end["state"] == "TASK_FINISHED", (end, session.facts())
    assert session.result() == [9, 1]


SLOTS = """\
import typing
from dataclasses import dataclass
class Named(typing.NamedTuple):
    a: int
class Plain:
    __slots__ = ("a", "__private", "__weakref__")
    def __init__(self, a): self.a = self.__private = a
    def get(self): return self.__private
class Single(Plain):
    __slots__ = "b"
@dataclass(slots=True)
class Data:
    a: int
    b: str = "b"
@dataclass(frozen=True, slots=True)
class Frozen:
    a: int
"""


def test_classes_with_slots_come_back(session: FakeSession, agent: FakeAgent, tmp_path: Path) -> None:
    """cloudpickle rebuilds them without slots; their instances then do not fit the notebook's classes."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(SLOTS, namespace)
    cell = (
        "single = Single(3)\nsingle.b = 4\nmade = [Plain(1), single, Data(5), Frozen(6), Named(7)]\n"
        "[made, [hasattr(each, '__dict__') for each in made]]"
    )
    (plain, single, data, frozen, named), open_ended = result_of(session, agent, tmp_path, cell, namespace)
    assert open_ended == [False] * 5
    assert type(plain) is namespace["Plain"] and (plain.a, plain.get()) == (1, 1)
    assert type(single) is namespace["Single"] and (single.a, single.b) == (3, 4)
    assert data == namespace["Data"](5) and frozen == namespace["Frozen"](6)
    assert type(named) is namespace["Named"] and named == (7,)
    # And those that only the worker has.
    made = result_of(
        session, agent, tmp_path, SLOTS + "[Plain(1), Data(5), Frozen(6), Named(7)]", {"__name__": "__main__"}
    )
    assert [each.a for each in made] == [1, 5, 6, 7]
    assert not any(hasattr(each, "__dict__") for each in made)


def test_what_pickles_as_a_name_is_no_name_in_a_result(
    session: FakeSession, agent: FakeAgent, tmp_path: Path
) -> None:
    cell = "import functools\n@functools.lru_cache\ndef twice(x): return 2 * x\ntwice"
    assert result_of(session, agent, tmp_path, cell, {"__name__": "__main__"})(4) == 8

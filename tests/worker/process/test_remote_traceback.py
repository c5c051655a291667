from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import pytest

from t2notebook.model.errors import PackageError
from t2notebook.protocol import archive
from t2notebook.worker.process import shipped_modules
from t2notebook.worker.process.environment import WorkerEnvironment
from t2notebook.worker.process.remote_traceback import (
    Failure,
    cannot_rebuild,
    describe,
    missing_module_hint,
    one_line,
)
from t2notebook.worker.process.result import pack_failure, pack_value
from t2notebook.worker.process.run import call
from t2notebook.worker.process.unpicklable import explain

ENV = WorkerEnvironment(
    worker_id=0, number_of_workers=1, job_id="j", config={}, restart_count=0, report=lambda *_: None
)


def cell(source: str, name: str = "f") -> Callable[..., Any]:
    shipped_modules.remember_source("<cell pi>", source)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell pi>", "exec"), namespace)
    function: Callable[..., Any] = namespace[name]
    return function


def failure_of(source: str) -> Any:
    with pytest.raises(BaseException) as info:
        call(cell(source), ENV)
    # What pytest adds of its own stands before our frames.
    traceback = info.value.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_name != "call":
        traceback = traceback.tb_next
    return describe(info.value.with_traceback(traceback))


def test_the_users_lines_and_none_of_ours() -> None:
    failure = failure_of("def g(x):\n    return 1 / x\n\ndef f(env):\n    return g(0)\n")
    # Which of them are underlined depends on the Python.
    lines = [line for line in failure.traceback.splitlines() if line.strip(" ~^")]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "<cell pi>", line 5, in f',
        "    return g(0)",
        '  File "<cell pi>", line 2, in g',
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]
    assert failure.type == "ZeroDivisionError"
    assert failure.line == "ZeroDivisionError: division by zero"
    assert isinstance(failure.error, ZeroDivisionError)


def test_coroutines_do_not_show_asyncio() -> None:
    failure = failure_of("async def f(env):\n    raise ValueError('later')\n")
    assert failure.traceback.splitlines()[1] == '  File "<cell pi>", line 2, in f'


def test_causes_and_contexts() -> None:
    failure = failure_of(
        "def f(env):\n    try:\n        {}['k']\n    except KeyError as e:\n        raise ValueError('no k') from e\n"
    )
    assert "KeyError: 'k'" in failure.traceback
    assert "direct cause" in failure.traceback
    assert failure.traceback.count("<cell pi>") == 2
    assert "worker/process/run.py" not in failure.traceback


def test_exception_groups() -> None:
    failure = failure_of("def f(env):\n    raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])\n")
    assert "ValueError: a" in failure.traceback and "KeyError: 'b'" in failure.traceback
    assert failure.line == "ExceptionGroup: two (2 sub-exceptions)"


def test_our_own_frames_stay_where_they_explain_something() -> None:
    failure = failure_of("def f(env):\n    env.progress('half')\n")
    assert failure.traceback.splitlines()[1] == '  File "<cell pi>", line 2, in f'
    assert "in progress" in failure.traceback


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nclass E(Exception): lock = threading.Lock()\n\ndef f(env): raise E(1)\n",
        "class E(Exception):\n    def __reduce__(self): raise ValueError\n    __dict__ = 3\n\ndef f(env): raise E(1)\n",
    ],
)
def test_exceptions_that_cannot_travel_are_still_told(source: str) -> None:
    failure = failure_of(source)
    assert failure.error is None
    assert failure.traceback and failure.line


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nclass E(Exception): pass\n\ndef f(env): raise E(threading.Lock())\n",
        "def f(env): raise ValueError(env)\n",
    ],
)
def test_an_exception_travels_without_its_part_that_cannot(source: str) -> None:
    failure = failure_of(source)
    _, back = round_trip(failure)
    assert type(back).__name__ in ("E", "ValueError") and len(back.args) == 1


def test_hostile_exceptions() -> None:
    failure = failure_of(
        "class E(Exception):\n    def __str__(self): raise RuntimeError\n\ndef f(env): raise E\n"
    )
    assert failure.line == "E: <its message cannot be shown>"
    assert "<cell pi>" in failure.traceback


def test_a_very_long_message_is_cut_in_the_traceback() -> None:
    failure = failure_of(
        "def f(env):\n    try: raise KeyError('y' * 9000)\n    except KeyError: raise ValueError('x' * 5000)\n"
    )
    assert failure.traceback.endswith(f"ValueError: {'x' * 1988}… (3012 more characters)\n")
    assert "… (7012 more characters)" in failure.traceback
    assert len(failure.traceback) < 5000


@pytest.mark.parametrize("arguments", ["a, b", "a, b, c=3", "a, *, d"])
def test_exceptions_with_an_init_of_their_own_travel(arguments: str) -> None:
    """BaseException pickles as a call with `args`, which are not what `__init__` takes."""
    failure = failure_of(
        f"class E(ValueError):\n    def __init__(self, {arguments}):\n"
        "        super().__init__(f'a is {a}')\n        self.a = a\n\n"
        "def f(env):\n    try: E(1)\n    except TypeError: pass\n"
        f"    raise E(1, {'d=2' if '*' in arguments else '2'})\n"
    )
    assert failure.error is not None
    facts, back = round_trip(failure)
    assert facts["ok"] is False
    assert (type(back), str(back), back.args, back.a) == (type(failure.error), "a is 1", ("a is 1",), 1)


def test_an_init_is_not_run_on_its_own_message() -> None:
    failure = failure_of(
        "class E(Exception):\n    def __init__(self, n): super().__init__(f'no {n}')\n\ndef f(env): raise E('x')\n"
    )
    assert str(round_trip(failure)[1]) == "no x"


def test_exceptions_with_a_state_in_c_keep_it() -> None:
    failure = failure_of(
        "class E(OSError):\n    def __init__(self, *args): super().__init__(*args)\n\n"
        "def f(env): raise E(2, 'gone', 'path')\n"
    )
    back = round_trip(failure)[1]
    assert (back.errno, back.filename) == (2, "path")


def round_trip(failure: Failure) -> tuple[Mapping[str, Any], Any]:
    members, facts = pack_failure(failure)
    (_, pickled), *_ = members
    return facts, archive.unpickle(pickled, [])


def test_one_line() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("x" * 5000)) == 1000


def test_what_keeps_a_function_from_being_rebuilt() -> None:
    error = AttributeError("module 'numpy' has no attribute 'new_thing'")
    told = cannot_rebuild(
        error, {"numpy": "99.0", "cloudpickle": metadata.version("cloudpickle"), "nowhere": "1"}
    )
    assert told.startswith(
        f"the job's function cannot be rebuilt on the agent: versions differ: numpy 99.0 in the notebook, "
        f"{metadata.version('numpy')} on the agent; nowhere 1 in the notebook, none on the agent (AttributeError: "
    )
    assert cannot_rebuild(SyntaxError("odd"), {}).endswith("on the agent: SyntaxError: odd")


def test_missing_modules() -> None:
    hint = missing_module_hint(ModuleNotFoundError("No module named 'foo.bar'", name="foo.bar"))
    assert hint.startswith("module foo is missing on the agent ") and "beside the notebook" in hint
    # An import in the notebook alone takes nothing along that the cell names only in a text.
    assert hint.endswith(
        "and write `import foo` in the cell or function itself, so that it travels with the job"
    )
    assert missing_module_hint(ImportError("x", name="foo")) == ""


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (lambda env: env.worker_id, 0),
        (lambda: "nothing", "nothing"),
        (lambda env=None: env is ENV, True),
        (lambda *args: args == (ENV,), True),
        (asyncio.sleep, None),
        pytest.param(threading.get_ident, threading.get_ident(), id="get_ident"),
        (dict, None),
        (str, ""),
    ],
)
def test_with_and_without_env(function: Callable[..., Any], value: Any) -> None:
    if function is asyncio.sleep:

        async def function() -> None:
            await asyncio.sleep(0)

    if function is dict:
        assert call(function, ENV) == {}
    else:
        assert call(function, ENV) == value


def test_a_type_error_of_the_users_own_is_not_a_second_call() -> None:
    calls = []

    def f(env: Any) -> None:
        calls.append(env)
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        call(f, ENV)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        call(lambda env, more: None, ENV)
    assert len(calls) == 1


LOCK = threading.Lock()


class Holder:
    def __init__(self) -> None:
        self.inner = {"deep": [1, {"lock": LOCK}]}


def closing_over_a_lock() -> Callable[[], Any]:
    lock = threading.Lock()
    return lambda: lock


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (LOCK, "it is a _thread.lock"),
        ({"lock": LOCK}, "dict value ['lock'] is a _thread.lock"),
        ([1, (2, LOCK)], "tuple item [1][1] is a _thread.lock"),
        (Holder(), "dict value .inner['deep'][1]['lock'] is a _thread.lock"),
        ({"g": (i for i in ())}, "dict value ['g'] is a generator"),
        ([closing_over_a_lock()], "the function's variable [0] lock is a _thread.lock"),
        ({(LOCK,): 1}, "tuple item [(<unlocked _thread.lock"),
    ],
)
def test_what_cannot_be_pickled_is_named_with_its_place(value: Any, told: str) -> None:
    assert explain(value).startswith(told)
    with pytest.raises(PackageError) as info:
        pack_value(value, 2)
    assert str(info.value).startswith(f"the result of worker 2 cannot be pickled: {told}")


def test_a_value_that_contains_itself_is_searched_once() -> None:
    value: list[Any] = [LOCK]
    value.insert(0, value)
    assert "list" in explain(value) or "lock" in explain(value)

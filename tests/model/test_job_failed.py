from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback
from concurrent.futures import CancelledError

import pytest

from t2notebook import JobFailed, SubmitError
from t2notebook.model.job_failed import failed_as


class WithCode(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class WithSlots(Exception):
    __slots__ = ("code",)


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Registered(Exception):
    seen: list[type] = []  # noqa: RUF012

    def __init_subclass__(cls, **_: object) -> None:
        Registered.seen.append(cls)


class Keyword(type):
    def __new__(cls, name, bases, namespace, *, must):  # type: ignore[no-untyped-def]
        return super().__new__(cls, name, bases, namespace)

    def __init__(cls, name, bases, namespace, *, must):  # type: ignore[no-untyped-def]
        pass


class WithKeyword(Exception, metaclass=Keyword, must=1):
    pass


class OwnProperty(Exception):
    @property
    def job_id(self) -> int:
        return 3


class NoPickle(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def caught(expression: str) -> Exception:
    try:
        eval(expression)
    except Exception as error:
        return error
    raise AssertionError(expression)


def slots() -> WithSlots:
    error = WithSlots("x")
    error.code = 7
    return error


def failed(cause: BaseException | None) -> JobFailed:
    failure = JobFailed(
        "job j failed: worker 1", job_id="j", worker_id=1, remote_traceback="Traceback\nX: y\n"
    )
    return failed_as(failure, cause)


@pytest.mark.parametrize(
    ("cause", "fields"),
    [
        (caught("1 / 0"), {}),
        (caught("{}['k']"), {}),
        (caught("open('/no/such/file')"), {"errno": 2, "filename": "/no/such/file"}),
        (caught("b'\\xff'.decode()"), {"start": 0, "object": b"\xff"}),
        (caught("{}.nope"), {"name": "nope"}),
        (WithCode(5, "text"), {"code": 5}),
        (slots(), {"code": 7}),
        (Frozen(3), {"code": 3}),
        (Registered("x"), {}),
        (SyntaxError("bad", ("file", 1, 2, "text")), {"filename": "file", "lineno": 1}),
        (ExceptionGroup("some", [ValueError(1), KeyError(2)]), {}),
        (SubmitError("no"), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_an_instance_of_the_workers_type_too(cause: Exception, fields: dict[str, object]) -> None:
    failure = failed(cause)
    with pytest.raises(type(cause)) as info:
        raise failure
    assert info.value is failure
    assert isinstance(failure, JobFailed)
    assert (type(failure).__name__, failure.args, failure.__cause__) == ("JobFailed", cause.args, cause)
    assert (failure.headline, failure.job_id, failure.worker_id) == ("job j failed: worker 1", "j", 1)
    assert repr(failure) == "JobFailed('job j failed: worker 1')"
    assert str(failure) == "job j failed: worker 1\n\nTraceback of worker 1:\nTraceback\nX: y"
    assert {name: getattr(failure, name) for name in fields} == fields
    assert Registered.seen == [], "no class of the user's is told of a subclass that is ours"


@pytest.mark.parametrize("cause", [caught("1 / 0"), caught("open('/no/such/file')"), WithCode(5, "text")])
def test_it_survives_a_pickle_and_a_copy(cause: Exception) -> None:
    for twin in (pickle.loads(pickle.dumps(failed(cause))), copy.copy(failed(cause))):
        assert isinstance(twin, JobFailed)
        assert isinstance(twin, type(cause))
        assert (twin.headline, twin.worker_id, twin.args) == ("job j failed: worker 1", 1, cause.args)
        assert type(twin.__cause__) is type(cause)


@pytest.mark.parametrize(
    "cause",
    [
        WithKeyword("x"),
        OwnProperty("x"),
        TimeoutError(),
        CancelledError(),
        StopIteration(3),
        KeyboardInterrupt(),
        SystemExit(3),
        None,
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_what_cannot_or_should_not_be_both_stays_a_plain_failure(cause: BaseException | None) -> None:
    failure = failed(cause)
    assert type(failure) is JobFailed
    assert failure.__cause__ is cause
    assert failure.args == ("job j failed: worker 1",)


def test_a_syntax_error_is_printed_with_what_failed() -> None:
    """Python prints not the text of one, but the line that is wrong and its field `msg`."""
    failure = failed(caught("exec('a b')"))
    assert isinstance(failure, SyntaxError) and failure.text is not None
    shown = "".join(traceback.format_exception_only(failure))
    assert "a b" in shown and "JobFailed: job j failed: worker 1\n" in shown


def test_a_cause_that_cannot_be_pickled_leaves_its_text() -> None:
    failure = failed(NoPickle("x"))
    assert isinstance(failure, NoPickle)
    twin = pickle.loads(pickle.dumps(failure))
    assert type(twin) is JobFailed
    assert (str(twin), twin.__cause__) == (str(failure), None)


def test_except_star_finds_it_and_what_is_in_a_group() -> None:
    found: list[object] = []
    try:
        raise failed(ValueError("v"))
    except* ValueError as group:
        found += group.exceptions
    try:
        raise failed(ExceptionGroup("some", [ValueError(1), KeyError(2)]))
    except* ValueError as group:
        found += [error.args for error in group.exceptions]
    except* KeyError as group:
        found += [error.args for error in group.exceptions]
    assert isinstance(found[0], JobFailed)
    assert found[1:] == [(1,), (2,)]

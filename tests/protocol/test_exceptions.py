"""Exceptions come back as what they are, without those of their parts that cannot travel."""

from __future__ import annotations

import io
import threading
import urllib.error
from typing import Any

from t2notebook.protocol import archive, calls
from t2notebook.protocol.exceptions import portable
from t2notebook.protocol.pickling import ResultPickler


class Holds(Exception):
    """Has a part that cannot travel."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}", threading.Lock())
        self.number, self.lock = number, threading.Lock()


class Slotted(OSError):
    """Has fields in C and in a slot, and takes what `args` do not say."""

    __slots__ = ("host",)

    def __init__(self, host: str, port: int) -> None:
        super().__init__(7, "gone", "path")
        self.host, self.lock = host, threading.Lock()


def there_and_back(error: BaseException) -> Any:
    stream = io.BytesIO()
    ResultPickler(stream, None).dump(portable(error))
    back = archive.unpickle(stream.getvalue(), [])
    assert type(calls.unpack(b"".join(map(bytes, calls.pack(portable(error)))))) is type(back)
    return back


def test_what_travels_goes_as_it_is() -> None:
    error = ValueError("x")
    assert portable(error) is error


def test_a_part_that_cannot_travel_is_left_behind() -> None:
    back = there_and_back(Holds(3))
    assert type(back) is Holds and (back.number, back.lock) == (3, None)
    assert back.args[0] == "number 3" and "lock" in back.args[1]


def test_fields_in_c_and_in_slots_come_along() -> None:
    back = there_and_back(Slotted("h", 1))
    assert type(back) is Slotted
    assert (back.errno, back.strerror, back.filename, back.host, back.lock) == (7, "gone", "path", "h", None)


def test_an_answer_of_http_that_is_an_error() -> None:
    with open(__file__, "rb") as stream, urllib.error.HTTPError("u", 404, "gone", {}, stream) as error:  # type: ignore[arg-type]
        back = there_and_back(error)
    assert type(back) is urllib.error.HTTPError and (back.code, back.msg, back.fp) == (404, "gone", None)
    assert str(back) == "HTTP Error 404: gone"


def test_a_group_of_which_one_cannot_travel_as_it_is() -> None:
    back = there_and_back(
        ExceptionGroup("several", [Holds(1), ZeroDivisionError("z"), ExceptionGroup("x", [Holds(2)])])
    )
    assert [type(each) for each in back.exceptions] == [Holds, ZeroDivisionError, ExceptionGroup]
    assert back.exceptions[2].exceptions[0].number == 2


def test_a_class_that_cannot_travel_at_all() -> None:
    class Closed(Exception):
        lock = threading.Lock()

    assert portable(Closed("x")) is None


class Needs(Exception):
    """Takes what `args` do not say."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("text")
        self.a = a


def test_an_exception_as_a_part_of_a_result_comes_back() -> None:
    (back,) = calls.unpack(b"".join(map(bytes, calls.pack([Needs(1, 2)]))))
    assert (type(back), back.args, back.a) == (Needs, ("text",), 1)

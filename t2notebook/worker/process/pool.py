"""A worker of a pool: runs calls that a notebook sends, one after the other, until nobody needs it any more."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from ...model.errors import PackageError
from ...protocol import calls, figures, outcomes
from ...protocol.archive import Archive
from ...protocol.frames import Bytes, Message
from . import debugger, shipped_modules
from . import remote_traceback as failures
from .call_queue import CallQueue, Queued
from .environment import WorkerEnvironment
from .job_master_client import JobMasterClient
from .superseded import Superseded
from .unpicklable import reason

#: Seconds that a worker goes on without a notebook, which may come back.
ALONE = 60.0
#: Bytes of a result that go in one message.
PART = 4 << 20
#: Seconds between two looks at what the notebook has sent meanwhile, as long as there are calls, and between two times
#: that streams are flushed: a worker's own keep nothing back of the thread that runs calls.
LISTEN = 0.005
#: Seconds of a call that is short: the session brings its result to the notebook with the next one's, if calls follow.
SHORT = 0.005


class Mapped:
    """A function as it travels to a pool: what workers of a job are given, and never call so.

    Parameters
    ----------
    function : callable
    """

    __signature__ = inspect.Signature([inspect.Parameter("env", inspect.Parameter.POSITIONAL_ONLY)])

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__wrapped__ = function

    def __reduce__(self) -> tuple[object, ...]:
        return Mapped, (self.function,)

    def __call__(self, env: WorkerEnvironment) -> Any:
        """Refuse: it is called by `PoolWorker`, with arguments."""
        raise TypeError("a pool's function is called with its own arguments")


@dataclass(slots=True)
class _Result:
    """A result that the notebook has not yet said that it has."""

    number: int
    ticket: int
    seconds: float
    is_good: bool
    more: bool
    pieces: calls.Pieces


class _Broken:
    """A function that could not be rebuilt here."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def serve(env: WorkerEnvironment) -> int:
    """Run calls until the notebook ends the pool; return how many."""
    assert env._job_master is not None
    return PoolWorker(env._job_master, os.getcwd()).run()


class PoolWorker:
    """One worker's calls, from the connection to their results.

    Parameters
    ----------
    client : JobMasterClient
    directory : str
        The worker's own.
    alone : float
        Seconds to go on without a notebook.
    """

    def __init__(self, client: JobMasterClient, directory: str, alone: float = ALONE) -> None:
        self._client, self._directory, self._alone = client, directory, alone
        self._queue = CallQueue()
        self._sent: deque[_Result] = deque()
        self._number = 0
        self._parts = bytearray()
        self._epoch = 0
        self._connection = 0
        self._greets = True
        self._tells = False
        self._over = False
        self._alone_since: float | None = time.monotonic()
        self._count = 0
        self._pid = os.getpid()
        self._listened = 0.0

    def run(self) -> int:
        """Run calls until the pool ends; return how many.

        Raises
        ------
        Superseded
        """
        while not self._over:
            if not self._queue or time.monotonic() - self._listened >= LISTEN:
                _flush()
                self._listen(wait=not self._queue)
                self._listened = time.monotonic()
            queued, returned = self._queue.next(time.monotonic())
            if returned:
                self._post({"returned": returned})
            if queued is not None:
                self._call(queued)
            elif self._is_forgotten():
                break
        return self._count

    def _is_forgotten(self) -> bool:
        return self._alone_since is not None and time.monotonic() - self._alone_since > self._alone

    def _listen(self, wait: bool) -> None:
        messages = self._client.receive(wait)
        if self._client.connections != self._connection:
            self._connection, self._greets = self._client.connections, True
            if self._alone_since is None:
                self._alone_since = time.monotonic()  # until it is said that the notebook is there
        for message in messages:
            self._take(message)
        if self._greets and self._client.connections:
            self._greet()

    def _greet(self) -> None:
        """Say what is here, on a new connection or to another notebook; all that had been sent before is void."""
        self._greets = False
        self._epoch += 1
        self._queue.clear()
        self._parts = bytearray()
        self._post({"hello": self._epoch, "holding": [result.ticket for result in self._sent]})
        for result in list(self._sent):
            self._send(result)

    def _take(self, message: Message) -> None:
        record = message.record["pool"]
        kind = record.get("kind")
        if kind == "attached":
            self._alone_since, self._greets = None, True
        elif kind == "alone":
            self._alone_since = time.monotonic()
        elif record.get("epoch") != self._epoch or self._greets:
            return  # it was sent on another connection
        elif kind == "part":
            self._parts += message.payload
        elif kind == "calls":
            self._take_calls(record, message.payload)
        elif kind == "drop":
            self._queue.drop(record["ticket"])
        elif kind == "end":
            self._over = True
        if (acknowledged := record.get("ack")) is not None:
            while self._sent and self._sent[0].number <= acknowledged:
                self._sent.popleft()

    def _take_calls(self, record: Mapping[str, Any], payload: Bytes) -> None:
        if self._parts:
            payload, self._parts = memoryview(self._parts), bytearray()
        view, begin = memoryview(payload), 0
        functions: dict[int, tuple[Any, int]] = {}
        for number, size in record.get("functions", ()):
            functions[number] = self._function(view[begin : begin + size]), size
            begin += size
        given = []
        for ticket, function, size in record["calls"]:
            given.append((ticket, function, view[begin : begin + size]))
            begin += size
        self._queue.put(given, record.get("after"), functions)
        self._tells = bool(record.get("tells"))

    def _function(self, package: memoryview) -> Any:
        """Return a function from its package, or why there is none."""
        try:
            archive = Archive(package)
            shipped_modules.install(archive, self._directory)
            # Names of the notebook as they were when this function was sent; other functions keep theirs.
            main = vars(sys.modules["__main__"])
            namespace = dict(main)
            function = archive.load(namespace)["worker"].function
            main.update({name: value for name, value in namespace.items() if not name.startswith("__")})
            return function
        except Superseded:
            raise
        except BaseException as error:
            failures.say(failures.format_traceback(error, folded=False))
            return _Broken(PackageError(failures.cannot_rebuild(error, {})))

    def _call(self, queued: Queued) -> None:
        if self._tells and queued.after is None:
            self._post({"started": queued.ticket})
        begun = time.perf_counter()
        is_good, outcome = True, None
        try:
            if isinstance(queued.function, _Broken):
                raise _WithoutFrames(queued.function.error)
            with figures.LetGo():
                outcome = _outcome(queued)
            if os.getpid() != self._pid:
                self._over = True
                return
            pieces = _packed(outcome)
        except Superseded:
            raise
        except _WithoutFrames as told:
            is_good = False
            pieces = _packed_failure(told.error)
        except BaseException as error:  # also SystemExit: it is the call that ends, not the worker
            if os.getpid() != self._pid:
                raise  # a copy that the call's code forked, which ends as any program does
            is_good = False
            if failures.is_ours_alone(error):
                error.__traceback__ = None  # the function was not even entered, or is none of Python's
            pieces = _packed_failure(error)
        debugger.release()
        seconds = time.perf_counter() - begun
        self._queue.ended(time.monotonic())
        self._count += 1
        self._number += 1
        queued.data = b""
        more = seconds < SHORT and bool(self._queue)
        result = _Result(self._number, queued.ticket, seconds, is_good, more, pieces)
        self._sent.append(result)
        if not self._greets and self._client.connections == self._connection:
            self._send(result)

    def _send(self, result: _Result) -> None:
        pieces = result.pieces
        if len(pieces) == 1:
            head = outcomes.pack(
                result.ticket, result.number, self._epoch, result.seconds, result.is_good, result.more
            )
            self._client.post_head(head, bytes(pieces[0]))
            return
        if calls.size(pieces) > PART:
            for part in calls.parts(pieces, PART):
                if not self._post({"part": result.ticket}, part):
                    return
            pieces = ()
        record = {"done": result.ticket, "ok": result.is_good, "seconds": result.seconds, "n": result.number}
        self._post(record, pieces)

    def _post(self, record: Mapping[str, Any], pieces: calls.Pieces = ()) -> bool:
        # What is not sent is said again by the next greeting, or need not be.
        return self._client.post({**record, "epoch": self._epoch}, pieces)


class _WithoutFrames(Exception):
    """An error whose message is all that there is to tell, but for frames of the user's that led to it.

    Parameters
    ----------
    error : Exception
        Not raised yet.
    cause : Exception, optional
    """

    def __init__(self, error: BaseException, cause: Exception | None = None) -> None:
        self.error = error
        if cause is not None and not failures.is_ours_alone(cause):
            error.__cause__ = cause


def _outcome(queued: Queued) -> Any:
    """Call a call's function, and return what that returns."""
    args, kwargs = _arguments(queued.data)
    try:
        outcome = queued.function(*args, **kwargs)
    finally:
        debugger.release()  # before anything else is called, into which somebody's steps would lead
    del args, kwargs
    if isinstance(outcome, CoroutineType):
        import asyncio  # 60 ms that few need

        return asyncio.run(outcome)
    return outcome


def _arguments(data: Bytes) -> Any:
    try:
        return calls.unpack(data)
    except Superseded:
        raise
    except Exception as error:
        hint = failures.missing_module_hint(error)
        what = failures.one_line(f"{failures.type_name(type(error))}: {error}", 300)
        why = f"{hint} ({what})" if hint else what
        told = PackageError(f"the arguments cannot be unpickled on the agent: {why}")
        raise _WithoutFrames(told, error) from error


def _packed(value: Any) -> calls.Pieces:
    try:
        return calls.pack(value)
    except Exception as error:
        told = PackageError(f"the result cannot be pickled: {reason(value, error)}")
        raise _WithoutFrames(told, error) from error


def _packed_failure(error: BaseException) -> calls.Pieces:
    failure = failures.describe(error, failures.missing_module_hint(error))
    record = {"line": failure.line, "type": failure.type, "traceback": failure.traceback}
    # Apart, so that whatever becomes of it there, the record is read.
    return calls.pack((record, b"".join(map(bytes, calls.pack(failure.error)))))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # whatever the user's code has made of it
            continue

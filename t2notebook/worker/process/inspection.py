"""Looks into this process, asked for by its executor: the stacks of its threads, once or a hundred times a second.

The executor sends a signal; its handler runs between two steps of the main thread's Python code, reads what is asked
from a socket that both have, and answers there. Nothing else runs in the worker: no thread, which would be in the way
of the user's `os.fork`, and no timer. The signal interrupts system calls (no SA_RESTART), so that sleeping, waiting for
a lock or reading a socket answers at once; Python itself goes on with them. What does not answer is in C code.
"""

from __future__ import annotations

import faulthandler
import json
import linecache
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ...model.text import sendable

#: Asks for a look, and for one dump by C code of all threads or of the main one; None where there are none to spare.
_LAST: int | None = getattr(signal, "SIGRTMAX", None)
LOOK, DUMP_ALL, DUMP_MAIN = (None, None, None) if _LAST is None else (_LAST - 2, _LAST - 3, _LAST - 4)
#: Frames of a thread that are told: of a deeper stack the outermost and the innermost ones.
MOST_FRAMES = 100
#: Tasks of an event loop that are told.
MOST_TASKS = 50
#: Bytes of an answer, which the socket takes in pieces, and of a piece.
_MOST_ANSWER, PIECE = 8 << 20, 60_000
_WORKER = os.path.join(os.path.dirname(os.path.dirname((lambda: 0).__code__.co_filename)), "")
_PACKAGE = os.path.join(os.path.dirname(_WORKER.rstrip(os.sep)), "")
_LIBRARY = os.path.join(os.path.dirname(threading.__file__), "")
_BOOTSTRAP = ("_bootstrap", "_bootstrap_inner", "run")

#: A line of a stack: file, line and function, as `traceback` names them.
FrameSummary = tuple[str, int, str]


class Inspector:
    """Answers looks into this process.

    Parameters
    ----------
    channel : socket.socket
        Datagrams from and to the executor; not blocking.
    dump : int
        Descriptor of a file that both have, for what C code dumps.
    """

    def __init__(self, channel: socket.socket, dump: int) -> None:
        self._channel, self._dump = channel, dump
        self._pid = os.getpid()
        self._profile: _Profile | None = None
        self._is_looking = False

    def listen(self) -> None:
        """Install the handlers, in the main thread."""
        if LOOK is None or DUMP_ALL is None or DUMP_MAIN is None:
            return
        signal.signal(LOOK, self._on_look)
        faulthandler.register(DUMP_ALL, self._dump, all_threads=True)
        faulthandler.register(DUMP_MAIN, self._dump, all_threads=False)

    def _on_look(self, number: int, frame: FrameType | None) -> None:
        if self._is_looking or os.getpid() != self._pid:
            return  # one look at a time; and of a process that the user's code has forked, nobody asks
        while frame is not None and frame.f_code is Inspector._on_look.__code__:
            frame = frame.f_back  # the signal came at the very beginning or end of the look before
        self._is_looking = True
        # No debugger, nor another that traces the code that was interrupted, is to come along.
        if (tracer := sys.gettrace()) is not None:
            sys.settrace(None)
        try:
            if self._profile is not None:
                self._profile.sample(frame)
            while (command := self._receive()) is not None:
                self._obey(command, frame)
        except Exception:
            self._profile = None  # whatever it is, it must not reach the user's code
        finally:
            self._is_looking = False
            if tracer is not None:
                sys.settrace(tracer)

    def _receive(self) -> Mapping[str, Any] | None:
        try:
            command = json.loads(self._channel.recv(4096))
        except (OSError, ValueError):
            return None
        return command if isinstance(command, dict) else None

    def _obey(self, command: Mapping[str, Any], frame: FrameType | None) -> None:
        number = command.get("number")
        if command.get("kind") == "stack":
            self._answer({"number": number, "threads": stacks(frame)})
        elif command.get("kind") == "profile":
            self._profile = _Profile()
        elif command.get("kind") in ("end", "so far") and self._profile is not None:
            samples, count = self._profile.take()
            if command["kind"] == "end":
                self._profile = None
            self._answer({"number": number, "samples": samples, "count": count})

    def _answer(self, record: Mapping[str, Any]) -> None:
        data = json.dumps(record).encode()[:_MOST_ANSWER]
        for start in range(0, len(data), PIECE):
            head = b"1" if start + PIECE >= len(data) else b"0"
            deadline = time.monotonic() + 1.0
            while True:
                try:
                    self._channel.send(head + data[start : start + PIECE])
                    break
                except BlockingIOError:  # the executor empties it in a moment
                    if time.monotonic() > deadline:
                        return
                    time.sleep(0.001)


def stacks(main: FrameType | None) -> list[dict[str, Any]]:
    """Return the stacks of all threads, the main one first.

    Parameters
    ----------
    main : frame
        The main thread's, below the handler.

    Returns
    -------
    list of dict
        ``name``, ``is_daemon`` and ``frames``, the outermost first: file, line, function, and the line's text if it is
        known without reading a file, else None. After the threads those tasks of the main thread's event loop that
        wait, since it is there that code with coroutines is.
    """
    threads = {thread.ident: thread for thread in threading.enumerate()}
    ours = threading.main_thread().ident
    found = []
    for ident, frame in sorted(sys._current_frames().items(), key=lambda one: one[0] != ours):
        places = _places(main if ident == ours and main is not None else frame, ident == ours)
        thread = threads.get(ident)
        found.append(
            {
                "name": _printable(thread.name) if thread is not None else f"thread {ident}",
                "is_daemon": thread is not None and thread.daemon,
                "frames": _with_known_lines(places),
            }
        )
    return found + _tasks()


def _tasks() -> list[dict[str, Any]]:
    """Return the tasks that wait in the event loop that was interrupted, as threads are given."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        tasks = asyncio.all_tasks(asyncio.get_running_loop())
    except (AttributeError, RuntimeError):  # nobody uses it, or none runs here
        return []
    found = []
    for task in sorted(tasks, key=lambda one: one.get_name())[:MOST_TASKS]:
        places = _awaits(task.get_coro())
        if places:
            name = f"task {_printable(task.get_name())}"
            found.append({"name": name, "is_daemon": False, "frames": _with_known_lines(places)})
    if len(tasks) > MOST_TASKS:
        name = f"and {len(tasks) - MOST_TASKS} more tasks"
        found.append({"name": name, "is_daemon": False, "frames": []})
    return found


def _awaits(coroutine: Any) -> list[FrameSummary]:
    """Return where a coroutine waits, and what it waits for where that does, and so on; nothing if it runs."""
    places: list[FrameSummary] = []
    while coroutine is not None and len(places) < MOST_FRAMES:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None or getattr(coroutine, "cr_running", False):
            break
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return users_places(places, is_main=False)


def _printable(name: str) -> str:
    """Return a name that somebody gave as one short line."""
    return sendable(" ".join(name.split()).replace("\x1b", "\\x1b"), 100)


def _with_known_lines(places: list[FrameSummary]) -> list[list[Any]]:
    return [[file, line, name, _known_line(file, line)] for file, line, name in places]


def _places(frame: FrameType | None, is_main: bool) -> list[FrameSummary]:
    """Return the places of a stack, outermost first, from the user's first frame on."""
    places: list[FrameSummary] = []
    while frame is not None:
        code = frame.f_code
        places.append((code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name))
        frame = frame.f_back
    places.reverse()
    places = users_places(places, is_main)
    if len(places) > MOST_FRAMES:
        left_out = len(places) - MOST_FRAMES
        half = MOST_FRAMES // 2
        places = [*places[:half], ("", 0, f"... {left_out} frames are left out ..."), *places[-half:]]
    return places


def users_places(places: list[FrameSummary], is_main: bool) -> list[FrameSummary]:
    """Return the places of a stack from the user's first to their last one: what `env` does inside is ours.

    Parameters
    ----------
    places : list of (file, line, function)
        Outermost first.
    is_main : bool
        Whether it is the main thread's.
    """
    places = places[beginning(places) :] if is_main else places[after_bootstrap(places) :]
    return places[: _end(places)]


def _end(places: list[FrameSummary]) -> int:
    """Return where the frames begin that are ours, or the standard library's below ours; their number without any."""
    end = len(places)
    for index in range(len(places) - 1, -1, -1):
        file = places[index][0]
        if file.startswith(_PACKAGE):
            end = index
        elif not file.startswith(_LIBRARY) or "site-packages" in file:
            break
    return end or len(places)


def beginning(places: list[FrameSummary]) -> int:
    """Return how many frames at the beginning are ours: the executor's, in whose middle a worker is forked, too."""
    first = next((index for index, place in enumerate(places) if place[0].startswith(_WORKER)), None)
    if first is None:
        return 0
    while first < len(places) and (
        places[first][0].startswith(_WORKER)
        or os.path.basename(os.path.dirname(places[first][0])) == "asyncio"
    ):
        first += 1
    return first if first < len(places) else 0


def after_bootstrap(places: list[FrameSummary]) -> int:
    """Return how many frames at the beginning are those of `threading` itself."""
    first = 0
    while (
        first < len(places) - 1 and places[first][0] == threading.__file__ and places[first][2] in _BOOTSTRAP
    ):
        first += 1
    return first


def _known_line(file: str, line: int) -> str | None:
    """Return a line's text if it is in memory; a handler reads no files."""
    entry = linecache.cache.get(file)
    if entry is None or len(entry) < 4:
        return None
    lines = entry[2]
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


class _Profile:
    """Samples of all threads' stacks, each weighted by the time since the one before.

    So what keeps the main thread in C code, where no sample can be taken, has its time when it returns.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last = time.perf_counter()
        self._ours = threading.main_thread().ident
        self._weights: dict[tuple[int, tuple[Any, ...]], float] = {}  # code, line, code, line, ...

    def sample(self, main: FrameType | None) -> None:
        """Add a sample."""
        now = time.perf_counter()
        weight, self._last = now - self._last, now
        self.count += 1
        weights = self._weights
        for ident, top in sys._current_frames().items():
            frame = main if ident == self._ours and main is not None else top
            stack: list[Any] = []
            current: FrameType | None = frame
            while current is not None:
                stack.append(current.f_code)
                stack.append(current.f_lineno or 0)
                current = current.f_back
            key = (ident, tuple(stack))
            weights[key] = weights.get(key, 0.0) + weight

    def take(self) -> tuple[list[list[Any]], int]:
        """Return a list for each stack (the thread's name, seconds, and its frames as `stacks` has them), and how many
        samples there were; and begin anew.
        """
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        found = []
        for (ident, stack), weight in sorted(self._weights.items(), key=lambda one: -one[1])[:5000]:
            pairs = list(zip(stack[::2], stack[1::2], strict=True))
            places = [(code.co_filename, line, code.co_name) for code, line in reversed(pairs)]
            places = users_places(places, ident == self._ours)
            frames = _with_known_lines(places)
            found.append(
                [_printable(names.get(ident, f"thread {ident}")), round(weight, 5), frames[-MOST_FRAMES:]]
            )
        count, self.count = self.count, 0
        self._weights.clear()
        return found, count

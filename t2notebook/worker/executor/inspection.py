"""Looks into a worker from its executor: its threads' stacks, and profiles, as far as the worker's state allows them.

The worker answers by itself between two steps of its Python code (`process.inspection`). One whose main thread does not
come to that for a second is in C code: then C code in it dumps the stacks, once, and of other threads only if none of
them is running, since a stack that changes meanwhile could not be read safely. One that is stopped, or in a system call
that cannot be interrupted, answers nothing: `/proc` says so.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..process.inspection import DUMP_ALL, DUMP_MAIN, LOOK, after_bootstrap, beginning
from ..process.shipped_modules import MODULES_DIRECTORY
from .event_loop import Loop, Timer

#: Seconds that Python code has to answer, and then C code; samples of a profile a second, and its seconds at the most.
PATIENCE, DUMP_PATIENCE, RATE, LONGEST_PROFILE = 1.0, 0.3, 100, 600.0
#: Files whose lines are read for one answer, and bytes of each at the most.
_MOST_FILES, _MOST_BYTES = 200, 4 << 20
_OURS = os.path.join(os.path.dirname(os.path.dirname((lambda: 0).__code__.co_filename)), "")
_THREAD = re.compile(r"^(?:Current thread|Thread) (0x[0-9a-f]+).*\(most recent call first\):")
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')
_STATES = {
    "R": "runs",
    "S": "waits",
    "D": "waits in a system call that cannot be interrupted",
    "T": "is stopped",
    "t": "is stopped by a debugger",
    "Z": "is ending",
    "X": "is ending",
}

Answer = Callable[[Mapping[str, Any]], None]


class Inspection:
    """One worker's side of looks into it, in the executor.

    Parameters
    ----------
    loop : Loop

    Attributes
    ----------
    theirs : tuple of int
        The worker's descriptors: of its socket, and of the file for dumps.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        theirs.setblocking(False)
        self._dump = _unnamed_file()
        self._theirs = theirs
        self.theirs = theirs.fileno(), self._dump
        self._pid = 0
        self._number = 0
        self._parts: list[bytes] = []
        self._waiting: tuple[int, Callable[[Mapping[str, Any]], None]] | None = None
        self._timer: Timer | None = None

    def begin(self, pid: int) -> None:
        """The worker's process has been made."""
        self._pid = pid
        self._theirs.close()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Give all of it back."""
        if self._pid:
            self._loop.remove_reader(self._socket)
            self._pid = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting[1]({"note": "the worker has ended"})
            self._waiting = None
        self._theirs.close()
        self._socket.close()
        if self._dump >= 0:
            os.close(self._dump)
            self._dump = -1

    def stack(self, answer: Answer) -> None:
        """Answer ``state``, ``note`` and ``threads``, as `process.inspection.stacks` gives them.

        Parameters
        ----------
        answer : callable
            Called once.
        """
        facts = describe(self._pid)
        if not self._may_ask(facts, answer):
            return

        def answered(record: Mapping[str, Any]) -> None:
            note = str(record.get("note", ""))
            answer({**facts, "note": note, "threads": with_lines(record.get("threads", []))})

        self._ask({"kind": "stack"}, PATIENCE, answered, lambda: self._have_dumped(answer))

    def profile(self, seconds: float, answer: Answer) -> None:
        """Sample all threads for some time, and answer ``samples``, as the worker gives them, and their ``count``.

        Parameters
        ----------
        seconds : float
        answer : callable
            Called once.
        """
        facts = describe(self._pid)
        if not self._may_ask(facts, answer):
            return
        self._busy()
        self._send({"kind": "profile"})

        end = time.monotonic() + min(seconds, LONGEST_PROFILE)

        def tick() -> None:
            if not self._pid:
                answer({**facts, "note": "the worker has ended"})
                return
            if (left := end - time.monotonic()) > 0:
                self._timer = self._loop.call_later(min(left, 1 / RATE), tick)
                self._signal(LOOK)
                return
            self._waiting = None
            self._ask({"kind": "end"}, 10.0, answered, silent)

        def answered(record: Mapping[str, Any]) -> None:
            samples = record.get("samples", [])
            for sample in samples:
                sample[2] = _fill(sample[2], lines)
            answer(
                {
                    **facts,
                    "note": str(record.get("note", "")),
                    "samples": samples,
                    "count": record.get("count", 0),
                }
            )

        def silent() -> None:
            answer(
                {
                    **describe(self._pid),
                    "note": "it did not come back from C code in this time",
                    "samples": [],
                }
            )

        lines = _Lines()
        tick()

    # Inside.

    def _may_ask(self, facts: dict[str, Any], answer: Answer) -> bool:
        """Return whether the worker can answer; else say why it does not."""
        note = ""
        if not self._pid or not facts["state"]:
            note = "its process has ended"
        elif facts["code"] in ("T", "t"):
            note = f"it is stopped; 'kill -CONT {self._pid}' on its agent lets it go on"
        elif facts["code"] == "D":
            note = f"it waits in the kernel{_where(facts)}, in a system call that no signal interrupts"
        elif facts["code"] in ("Z", "X"):
            note = "its process is ending"
        elif LOOK is None or not _catches(self._pid, LOOK):
            note = "it does not listen: another program runs in its process, or it has not begun yet"
        elif self._waiting is not None:
            note = "somebody else is looking into it just now"
        if note:
            answer({**facts, "note": note})
        return not note

    def _busy(self) -> None:
        """Let nobody else ask."""
        self._waiting = (0, lambda record: None)

    def _ask(
        self, command: Mapping[str, Any], patience: float, answered: Answer, silent: Callable[[], None]
    ) -> None:
        self._number += 1
        self._parts.clear()

        def done(record: Mapping[str, Any]) -> None:
            if self._timer is not None:
                self._timer.cancel()
            answered(record)

        def too_late() -> None:
            self._waiting = None
            silent()

        self._waiting = self._number, done
        self._timer = self._loop.call_later(patience, too_late)
        self._send({**command, "number": self._number})
        self._signal(LOOK)

    def _send(self, record: Mapping[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(record).encode())
        except OSError:
            pass  # it has closed its end, or does not read: then no answer comes, and that is said

    def _signal(self, number: int | None) -> None:
        if number is not None and self._pid and _catches(self._pid, number):
            try:
                os.kill(self._pid, number)
            except OSError:
                pass

    def _read(self) -> None:
        while True:
            try:
                part = self._socket.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError:
                return
            if not part:
                return
            self._parts.append(part[1:])
            if part[:1] != b"1":
                continue
            try:
                record = json.loads(b"".join(self._parts))
            except ValueError:
                record = {"note": "its answer is too large"}
            self._parts.clear()
            if self._waiting is not None and record.get("number", self._waiting[0]) == self._waiting[0]:
                (_, done), self._waiting = self._waiting, None
                done(record)

    def _have_dumped(self, answer: Answer) -> None:
        """Have C code dump what Python code does not tell, once."""
        facts = describe(self._pid)
        if not self._may_ask(facts, answer):
            return
        is_alone = not any(state == "R" for state in _other_threads(self._pid))
        os.ftruncate(self._dump, 0)
        self._busy()
        self._signal(DUMP_ALL if is_alone else DUMP_MAIN)
        note = f"its main thread has been in C code for {PATIENCE:g} s or longer"
        if not is_alone:
            note += "; the others run, and are not shown for that"

        def look(left: int = 10) -> None:
            if not self._pid:
                answer({**facts, "note": "the worker has ended"})
                return
            text = os.pread(self._dump, 1 << 20, 0).decode("utf-8", "replace")
            if left and not text.endswith("\n"):
                self._timer = self._loop.call_later(DUMP_PATIENCE / 10, lambda: look(left - 1))
                return
            self._waiting = None
            threads = parse(text)
            answer(
                {
                    **facts,
                    "note": note if threads else f"{note}, and tells nothing",
                    "threads": with_lines(threads),
                }
            )

        look()


def describe(pid: int) -> dict[str, Any]:
    """Return how a process is: ``pid``, ``state`` in words and its ``code`` in proc(5), where it waits, and more."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split() if pid else []
    code = fields[0] if fields else ""
    waits = _text(f"/proc/{pid}/wchan").strip() if code in ("S", "D") else ""
    return {
        "pid": pid,
        "code": code,
        "state": _STATES.get(code, code),
        "number_of_threads": int(fields[17]) if len(fields) > 17 else 0,
        "where": "" if waits in ("0", "") else waits,
    }


def _where(facts: Mapping[str, Any]) -> str:
    return f" at {facts['where']}" if facts.get("where") else ""


def _catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal: without one, most signals would end it."""
    if not os.path.exists("/proc/self/status"):
        return False
    for line in _text(f"/proc/{pid}/status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _other_threads(pid: int) -> Iterator[str]:
    """Yield the state of each thread but the main one."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        if thread != str(pid) and (
            fields := _text(f"/proc/{pid}/task/{thread}/stat").rpartition(")")[2].split()
        ):
            yield fields[0]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def parse(dump: str) -> list[dict[str, Any]]:
    """Return the threads of a dump of `faulthandler` with their frames, outermost first; frames of ours left out."""
    threads: list[dict[str, Any]] = []
    for line in dump.splitlines():
        if match := _THREAD.match(line):
            threads.append({"name": f"thread {match[1]}", "is_daemon": False, "frames": []})
        elif threads and (match := _FRAME.match(line)):
            threads[-1]["frames"].append([match[1], int(match[2]), match[3], None])
    for thread in threads:
        frames = thread["frames"] = thread["frames"][::-1]
        places = [(file, line, name) for file, line, name, _ in frames]
        if any(file.startswith(_OURS) for file, _, _ in places):
            thread["name"] = "MainThread"  # which is forked in the middle of the executor's frames
            thread["frames"] = frames[beginning(places) :]
        else:
            thread["frames"] = frames[after_bootstrap(places) :]
    threads.sort(key=lambda thread: thread["name"] != "MainThread")
    return threads


class _Lines:
    """Lines of source files, read when they are asked for; few files, and none that is large."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def line(self, file: str, number: int) -> str:
        if file not in self._files:
            self._files[file] = self._read(file) if len(self._files) < _MOST_FILES else []
        lines = self._files[file]
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""

    @staticmethod
    def _read(file: str) -> list[str]:
        try:
            if not os.path.isfile(file) or os.path.getsize(file) > _MOST_BYTES:
                return []
            with open(file, encoding="utf-8", errors="replace") as opened:
                return opened.read().splitlines()
        except (OSError, ValueError):
            return []


def with_lines(threads: Any) -> Any:
    """Return threads with the text of each line that can be found here, where they run."""
    lines = _Lines()
    for thread in threads:
        thread["frames"] = _fill(thread["frames"], lines)
    return threads


def _fill(frames: list[list[Any]], lines: _Lines) -> list[list[Any]]:
    return [
        [_shown(file), line, name, lines.line(file, line) if text is None else text]
        for file, line, name, text in frames
    ]


def _shown(file: str) -> str:
    """Return what is shown of a file: a module that travelled, by its path beside the notebook."""
    return file.partition(f"/{MODULES_DIRECTORY}/")[2] or file


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("t2notebook-stacks")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

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

from ..process.inspection import DUMP_ALL, DUMP_MAIN, LOOK, users_places
from ..process.shipped_modules import MODULES_DIRECTORY
from .event_loop import Loop, Timer

#: Seconds that Python code has to answer; samples of a profile a second, and its seconds at the most.
PATIENCE, RATE, LONGEST_PROFILE = 1.0, 100, 600.0
#: Looks at what C code has dumped, and seconds between them: two that are alike show all of it.
DUMP_LOOKS, DUMP_PAUSE = 30, 0.03
#: Seconds after which samples are fetched that there are so far.
TAKE = 1.0
ENDED = "the worker has ended"
#: Looks, and seconds between them, after which a wait in the kernel counts as one that lasts.
SHORT_WAITS, SHORT_WAIT = 3, 0.1
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

#: What is said of a worker that answers in no way.
_SILENT = (
    "it gave no answer: its main thread is in C code that does not come back, or its code has taken over the signals "
    "that ask it, or has closed the file descriptors for the answer"
)

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
        self._questions: dict[int, tuple[Answer, Timer]] = {}
        self._dump_for: list[Answer] = []  # who waits for the dump that is under way
        self._profile: _Profile | None = None
        self._postponed: list[Answer] = []
        self._timers: set[Timer] = set()

    def begin(self, pid: int) -> None:
        """The worker's process has been made."""
        self._pid = pid
        self._theirs.close()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Give all of it back."""
        if self._pid:
            self._read()  # its last words
            self._loop.remove_reader(self._socket)
            self._pid = 0
        answers = [*(answer for answer, _ in self._questions.values()), *self._dump_for, *self._postponed]
        for timer in (*self._timers, *(timer for _, timer in self._questions.values())):
            timer.cancel()
        self._timers.clear()
        self._questions.clear()
        self._dump_for, self._postponed = [], []
        profile, self._profile = self._profile, None
        if profile is not None:
            profile.finish(ENDED)
        for answer in answers:
            answer({"note": ENDED})
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

        def ask(facts: Mapping[str, Any]) -> None:
            def answered(record: Mapping[str, Any]) -> None:
                note = str(record.get("note", ""))
                answer({**facts, "note": note, "threads": with_lines(record.get("threads", []))})

            self._ask({"kind": "stack"}, PATIENCE, answered, lambda: self._have_dumped(answer))

        self._if_it_can(ask, answer)

    def profile(self, seconds: float, answer: Answer) -> None:
        """Sample all threads for some time, and answer ``samples``, as the worker gives them, and their ``count``.

        Parameters
        ----------
        seconds : float
        answer : callable
            Called once.
        """
        self._if_it_can(lambda facts: self._sample(seconds, facts, answer), answer)

    # Inside.

    def _sample(self, seconds: float, facts: Mapping[str, Any], answer: Answer) -> None:
        if self._profile is not None:
            answer({**facts, "note": "somebody else is profiling it just now"})
            return
        profile = self._profile = _Profile(facts, answer)
        self._send({"kind": "profile"})
        now = time.monotonic()
        end, take_at = now + min(seconds, LONGEST_PROFILE), now + TAKE

        def tick() -> None:
            nonlocal take_at
            now = time.monotonic()
            if now >= end:
                self._ask({"kind": "end"}, 10.0, finish, silent)
                return
            if now >= take_at:  # a worker that ends takes along only what came after that
                take_at = now + TAKE
                self._ask({"kind": "so far"}, TAKE, profile.add, lambda: None)
            self._later(min(end - now, 1 / RATE), tick)
            self._signal(LOOK)

        def finish(record: Mapping[str, Any]) -> None:
            profile.add(record)
            self._profile = None
            profile.finish(str(record.get("note", "")))

        def silent() -> None:
            self._profile = None
            profile.finish("" if profile.count else f"in this time {_SILENT}")

        tick()

    def _if_it_can(
        self, go_on: Callable[[Mapping[str, Any]], None], answer: Answer, left: int = SHORT_WAITS
    ) -> None:
        """Go on with how the worker is, if it can answer; else say why it cannot."""
        facts = describe(self._pid)
        note = self._why_not(facts)
        if not note:
            go_on(facts)
        elif left and facts["code"] in ("R", "S", "D"):
            # Who reads a disk waits like that for a moment; who takes a signal or starts a process blocks the signals;
            # and who has just been made does not listen yet.
            self._postponed.append(answer)

            def again() -> None:
                self._postponed.remove(answer)
                self._if_it_can(go_on, answer, left - 1)

            self._later(SHORT_WAIT, again)
        else:
            answer({**facts, "note": note})

    def _why_not(self, facts: Mapping[str, Any]) -> str:
        """Return why the worker cannot answer; empty if it can."""
        if not self._pid or not facts["state"]:
            return "its process has ended"
        if facts["code"] in ("T", "t"):
            return f"it is stopped; 'kill -CONT {self._pid}' on its agent lets it go on"
        if facts["code"] == "D":
            return f"it waits in the kernel{_where(facts)}, in a system call that no signal interrupts"
        if facts["code"] in ("Z", "X"):
            return "its process is ending"
        if LOOK is not None and _has(self._pid, "SigBlk", LOOK):
            return f"its code blocks the signal that asks it ({LOOK}; signal.pthread_sigmask)"
        if LOOK is not None and _has(self._pid, "SigIgn", LOOK):
            return f"its code ignores the signal that asks it ({LOOK}; signal.signal)"
        if LOOK is None or not _has(self._pid, "SigCgt", LOOK):
            return "it does not listen: another program runs in its process, or it has not begun yet"
        return ""

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` then, unless this is closed before."""

        def call() -> None:
            self._timers.discard(timer)
            callback()

        timer = self._loop.call_later(seconds, call)
        self._timers.add(timer)

    def _ask(
        self, command: Mapping[str, Any], patience: float, answered: Answer, silent: Callable[[], None]
    ) -> None:
        self._number += 1
        number = self._number

        def too_late() -> None:
            del self._questions[number]
            silent()

        self._questions[number] = answered, self._loop.call_later(patience, too_late)
        self._send({**command, "number": number})
        self._signal(LOOK)

    def _send(self, record: Mapping[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(record).encode())
        except OSError:
            pass  # it has closed its end, or does not read: then no answer comes, and that is said

    def _signal(self, number: int | None) -> None:
        if number is not None and self._pid and _has(self._pid, "SigCgt", number):
            try:
                os.kill(self._pid, number)
            except OSError:
                pass

    def _read(self) -> None:
        while self._pid:
            try:
                part = self._socket.recv(1 << 17)
            except OSError:  # there is nothing more, too
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
            # One that cannot be read is taken for the answer to the oldest question.
            number = record.get("number", next(iter(self._questions), 0))
            if (question := self._questions.pop(number, None)) is not None:
                question[1].cancel()
                question[0](record)

    def _have_dumped(self, answer: Answer) -> None:
        """Have C code dump what Python code does not tell, once for all who ask meanwhile."""
        self._if_it_can(lambda facts: self._dump_stacks(facts, answer), answer)

    def _dump_stacks(self, facts: Mapping[str, Any], answer: Answer) -> None:
        self._dump_for.append(answer)
        if len(self._dump_for) > 1:
            return
        is_alone = not any(state == "R" for state in _other_threads(self._pid))
        os.ftruncate(self._dump, 0)
        os.lseek(self._dump, 0, os.SEEK_SET)  # which the worker's copy has in common
        self._signal(DUMP_ALL if is_alone else DUMP_MAIN)
        note = f"its main thread has been in C code for {PATIENCE:g} s or longer"
        if not is_alone:
            note += "; the others run, and are not shown for that"

        def look(left: int = DUMP_LOOKS, before: str = "") -> None:
            text = os.pread(self._dump, 1 << 20, 0).decode("utf-8", "replace")
            if left and not (text == before and _is_whole(text)):  # it is written line by line
                self._later(DUMP_PAUSE, lambda: look(left - 1, text))
                return
            threads = with_lines(parse(text))
            answers, self._dump_for = self._dump_for, []
            for one in answers:
                one({**facts, "note": note if threads else _SILENT, "threads": threads})

        look()


class _Profile:
    """Samples that have been fetched, of equal stacks in one.

    Parameters
    ----------
    facts : mapping
        How the worker was when it began.
    answer : callable
    """

    def __init__(self, facts: Mapping[str, Any], answer: Answer) -> None:
        self._facts, self._answer = facts, answer
        self.count = 0
        self._samples: dict[str, list[Any]] = {}
        self._is_over = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Add what the worker has sent."""
        self.count += int(record.get("count", 0))
        for sample in record.get("samples", []):
            known = self._samples.setdefault(json.dumps([sample[0], sample[2]]), [sample[0], 0.0, sample[2]])
            known[1] += sample[1]

    def finish(self, note: str) -> None:
        """Answer with them, once."""
        if self._is_over:
            return
        self._is_over = True
        lines = _Lines()
        samples = sorted(self._samples.values(), key=lambda sample: -sample[1])
        shown = [[thread, round(seconds, 5), _fill(frames, lines)] for thread, seconds, frames in samples]
        self._answer({**self._facts, "note": note, "samples": shown, "count": self.count})


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


def _has(pid: int, mask: str, number: int) -> bool:
    """Return whether a signal stands in a mask of a process, as proc(5) names it: ``SigCgt`` are those with a handler,
    without which most signals would end it; ``SigIgn`` the ignored ones, ``SigBlk`` those that its main thread blocks.
    """
    for line in _text(f"/proc/{pid}/status").splitlines():
        if line.startswith(f"{mask}:"):
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


def _is_whole(dump: str) -> bool:
    """Return whether a dump may be all: a thread's first line is followed by where it is."""
    return dump.endswith("\n") and not _THREAD.match(dump.splitlines()[-1])


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
        # The main thread is forked in the middle of the executor's frames; another may be where `env` leads.
        is_main = any(file.startswith(_OURS) for file, _, _ in places) and not (
            os.path.basename(places[0][0]) == "threading.py" and places[0][2] == "_bootstrap"
        )
        thread["name"] = "MainThread" if is_main else thread["name"]
        thread["frames"] = [[*place, None] for place in users_places(places, is_main)]
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

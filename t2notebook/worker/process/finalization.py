"""The end of a worker is that of a Python program: threads, exit hooks, files, C's own buffers, then the process.

A worker is a fork of the executor, in the middle of the executor's frames, so the interpreter cannot simply be left to
its own finalization (which also takes 30 ms a worker, mostly for tearing down what the executor has loaded). What it
does that a program can rely on is done here, in its order: non-daemon threads and the pending work of
`concurrent.futures` come to their end, hooks of `atexit` run, objects of the notebook's globals and open files are
closed, and C's `exit` runs what libraries registered there.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import signal
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from . import exit_functions

#: Seconds until it is said what a worker waits for.
TELL_AFTER = 5.0
#: Seconds that threads and hooks have after an error: the job is told of it when the process has ended.
ERROR_PATIENCE = 30.0
#: Seconds that the exit functions of C libraries have.
_C_PATIENCE = 30


def begin() -> None:
    """Forget, in a fresh fork, the exit hooks of the process that it was forked from.

    Hooks of modules that are loaded already are kept: they would not be registered again.
    """
    clear: Callable[[], None] | None = getattr(atexit, "_clear", None)
    if clear is None:
        return  # CPython has it, and uses it for the same; elsewhere the executor's few hooks run here, too
    clear()
    finalize: Any = weakref.finalize
    getattr(finalize, "_registry", {}).clear()
    if hasattr(finalize, "_registered_with_atexit"):
        finalize._registered_with_atexit = False
    for module, name in (("multiprocessing.util", "_exit_function"), ("logging", "shutdown")):
        hook = getattr(sys.modules.get(module), name, None)
        if hook is not None:
            atexit.register(hook)
    global _kept_hooks
    _kept_hooks = _count_hooks()


def is_immediate() -> bool:
    """Return whether nothing but what every worker has is to come to its end first: no thread, and no exit hook."""
    return threading.active_count() == 1 and 0 <= _kept_hooks == _count_hooks()


#: Exit hooks that a worker has before its function is called; -1 where they cannot be counted.
_kept_hooks = 0


def _count_hooks() -> int:
    count: Callable[[], int] | None = getattr(atexit, "_ncallbacks", None)
    return -1 if count is None else count()


def end(code: int, tell: Callable[[str], None], *, patience: float | None = None) -> NoReturn:
    """End this process as a Python program ends.

    Parameters
    ----------
    code : int
        Exit code.
    tell : callable
        Called, from a signal handler, with what is waited for when that takes long.
    patience : float, optional
        Seconds that threads and hooks have; for ever without.
    """
    with _watched(code, tell, patience):
        for step in (_join_threads, _run_hooks):
            try:
                step()
            except BaseException:  # as the interpreter does: it is printed, and the end goes on
                _print_exception()
    try:
        _close_all()
    except BaseException:
        _print_exception()
    _leave(code)


def waiting_for() -> str:
    """Return the names of the threads that keep this process from ending."""
    ours = threading.current_thread()
    names = sorted(one.name for one in threading.enumerate() if not one.daemon and one is not ours)
    return f"thread{'s' * (len(names) != 1)} {', '.join(names)}" if names else "exit hooks"


def _join_threads() -> None:
    shutdown: Callable[[], None] | None = getattr(threading, "_shutdown", None)
    if shutdown is not None:  # what multiprocessing calls at this point in its own children
        shutdown()
        return
    for one in threading.enumerate():
        if not one.daemon and one is not threading.main_thread():
            one.join()


def _run_hooks() -> None:
    run: Callable[[], None] | None = getattr(atexit, "_run_exitfuncs", None)
    if run is not None:
        run()


def _close_all() -> None:
    """Close what the user's code left open; flush it only, where a daemon thread may still write to it."""
    _flush_standard()
    alone = threading.active_count() == 1
    if alone:
        _drop_globals()
    _close_files(alone)
    _flush_standard()


def _drop_globals() -> None:
    """Let go of the notebook's global values, so that those with a `__del__` of their own end properly.

    Functions, classes and modules stay: these may be needed for that.
    """
    main = sys.modules.get("__main__")
    values = vars(main) if main is not None else {}
    code = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    for name in [
        name for name, value in values.items() if not (name.startswith("__") or isinstance(value, code))
    ]:
        values.pop(name, None)


def _close_files(close: bool) -> None:
    """Close open files, those that lie in others first."""
    zip_file: Any = getattr(sys.modules.get("zipfile"), "ZipFile", None)
    order: tuple[tuple[Any, ...], ...] = (
        (io.TextIOWrapper,),
        (zip_file,) if zip_file else (),
        (),  # any other
        (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair),
        (io.FileIO,),
    )
    any_file = io.IOBase.__base__
    places: dict[type, int] = {}
    found: list[list[Any]] = [[] for _ in order]
    standard = _standard()
    for thing in gc.get_objects():
        kind = type(thing)
        place = places.get(kind)
        if place is None:
            bases = kind.__mro__
            fits = [number for number, kinds in enumerate(order) if any(one in bases for one in kinds)]
            place = places[kind] = fits[0] if fits else 2 if any_file in bases else -1
        if place >= 0 and id(thing) not in standard:
            found[place].append(thing)
    for file in (file for files in found for file in files):
        try:
            if close:
                file.close()
            elif not file.closed and file.writable():
                file.flush()
        except Exception:
            pass  # as the interpreter does


def _standard() -> set[int]:
    found = set()
    for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__):
        for part in (
            stream,
            getattr(stream, "buffer", None),
            getattr(getattr(stream, "buffer", None), "raw", None),
        ):
            found.add(id(part))
    return found


def _flush_standard() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


@contextmanager
def _watched(code: int, tell: Callable[[str], None], patience: float | None) -> Iterator[None]:
    """Say what is waited for, and end the wait after `patience`; unless the user's code has a use for SIGALRM."""
    if (
        signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, None)
        or signal.getitimer(signal.ITIMER_REAL)[0]
    ):
        if patience is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, patience)
        yield
        return
    first = TELL_AFTER if patience is None else min(TELL_AFTER, patience)
    has_told = False

    def on_alarm(*_: object) -> None:
        nonlocal has_told
        if not has_told:
            has_told = True
            tell(waiting_for())
            if patience is not None:
                signal.setitimer(signal.ITIMER_REAL, max(0.01, patience - first))
            return
        tell(f"{waiting_for()}, and waits no more")
        _flush_standard()
        os._exit(code)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, first)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _print_exception() -> None:
    try:
        traceback.print_exc()
    except BaseException:
        pass


def _leave(code: int) -> NoReturn:
    """Exit as C does: with its buffers written, and what libraries registered there."""
    try:
        if not exit_functions.may_be_registered():
            # Only what the executor itself has loaded is there: to have it tidy up takes 3 ms and 300 pages.
            exit_functions.flush()
            os._exit(code & 0xFF)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_C_PATIENCE)
        # With the GIL held: no daemon thread runs any more.
        ctypes.PyDLL(None).exit(code & 0xFF)
    finally:
        os._exit(code & 0xFF)

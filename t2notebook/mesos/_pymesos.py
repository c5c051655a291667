"""The fence around pymesos: its classes without what importing it does to a process.

pymesos 0.3.15 lies in `t2notebook._vendor` (`hatch_build.py` brings it) and is loaded under that name.
Imported as published it replaces the SIGINT handler (so it fails off the main thread, and with SIGINT
ignored), adds a stderr handler to a logger, and needs an HTTP parser that compiles on no CPython from 3.11
on. Here its `__init__` never runs, and its I/O module `process` runs with an `__import__` of its own, so that
it alone sees stand-ins; nothing outside `t2notebook._vendor` changes, on any thread.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import signal
import sys
import threading
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from .. import _vendor

PACKAGE = f"{_vendor.__name__}.pymesos"

_lock = threading.RLock()
_loaded: Pymesos | None = None


class HttpParser:
    """Stands where pymesos expects http-parser's: the driver brings its own transport and never makes one."""

    def __init__(self, *_: object) -> None:
        raise RuntimeError(
            "pymesos's own event stream is not available: t2notebook's driver brings its transport"
        )


class Pymesos:
    """The names of pymesos that t2notebook uses; ZooKeeper's and the operator API's load when asked for.

    Attributes
    ----------
    MesosSchedulerDriver, Scheduler : type
        The scheduler driver and the interface of its callbacks. The driver's `start` needs a transport.
    MasterDetector : type
        ZooKeeper's; imports kazoo.
    MesosOperatorMasterDriver : type
        The master's operator API.
    encode_data, decode_data : callable
        Bytes to base64 text, and back.
    """

    def __init__(self) -> None:
        interface, scheduler, utils = (_submodule(name) for name in ("interface", "scheduler", "utils"))
        self.Scheduler: Any = interface.Scheduler
        self.MesosSchedulerDriver: Any = scheduler.MesosSchedulerDriver
        self.encode_data: Any = utils.encode_data
        self.decode_data: Any = utils.decode_data

    @cached_property
    def MasterDetector(self) -> Any:
        """ZooKeeper's master detector, without its habit of setting the levels of kazoo's loggers."""
        detector = _submodule("detector")
        detector.adjust_zk_logging_level = _do_nothing  # type: ignore[attr-defined]
        return detector.MasterDetector

    @cached_property
    def MesosOperatorMasterDriver(self) -> Any:
        """The driver of the master's operator API."""
        return _submodule("operator_v1").MesosOperatorMasterDriver


def load() -> Pymesos:
    """Return pymesos's names; the first call imports them, on whichever thread it comes.

    Raises
    ------
    ImportError
        When the vendored copy is not there: t2notebook runs from a checkout that was never installed.
    """
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _register_package()
                _load_process()
                _loaded = Pymesos()
    return _loaded


def _register_package() -> None:
    """Put an empty package in the place of pymesos's own, so that its `__init__` never runs."""
    if PACKAGE in sys.modules:
        return
    folder = Path(_vendor.__path__[0]) / "pymesos"
    if not (folder / "process.py").is_file():
        raise ImportError(
            "t2notebook was not installed, so its copy of pymesos is missing: "
            "run `pip install -e .` once in the checkout",
            name=PACKAGE,
        )
    spec = ModuleSpec(PACKAGE, loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def _load_process() -> None:
    """Run pymesos's `process` behind its own `__import__`, under the name that its siblings import it by."""
    name = f"{PACKAGE}.process"
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A module's functions look builtins up in its globals, so imports made later inside them are fenced too.
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _fenced_import}
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _do_nothing(*_: object) -> None:
    pass


#: What `process` imports that would reach the whole process, or that does not exist.
_STAND_INS: dict[str, Any] = {
    "http_parser.http": SimpleNamespace(HttpParser=HttpParser),
    "signal": SimpleNamespace(SIGINT=signal.SIGINT, signal=_do_nothing),
    "six.moves": SimpleNamespace(_thread=SimpleNamespace(interrupt_main=_do_nothing)),
}


def _fenced_import(name: str, *how: Any, **named: Any) -> Any:
    """`__import__` as pymesos's `process` sees it."""
    if name in _STAND_INS:
        return _STAND_INS[name]
    return builtins.__import__(name, *how, **named)


def _submodule(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")

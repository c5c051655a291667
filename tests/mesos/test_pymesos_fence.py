"""The fence loads pymesos and leaves the process as it was.

What a process keeps for good (signal handlers, `sys.modules`, loggers) is looked at in fresh processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from t2notebook import _vendor
from t2notebook.mesos import _pymesos

SNAPSHOT = """
import json, logging, signal, sys, threading
import addict, six.moves.http_client, six.moves.urllib.parse  # what pymesos may import of others

def snapshot():
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return {
        "signals": {int(n): repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "handlers": sorted(str(h) for logger in loggers for h in getattr(logger, "handlers", ())),
        "levels": sorted((logger.name, logger.level) for logger in loggers if getattr(logger, "level", 0)),
        "modules": sorted(sys.modules),
        "builtins import": repr(__import__),
        "meta path": [repr(finder) for finder in sys.meta_path],
        "threads": threading.active_count(),
    }
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SNAPSHOT + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def answer(code: str) -> dict:
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


LOADS = {
    "main thread": "from t2notebook.mesos._pymesos import load; load()",
    "another thread": """
        def work():
            from t2notebook.mesos._pymesos import load
            load()
        thread = threading.Thread(target=work); thread.start(); thread.join()
    """,
    "SIGINT ignored": """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        before = snapshot()
        from t2notebook.mesos._pymesos import load
        load()
    """,
    "everything": """
        import kazoo.client, kazoo.recipe.watchers
        before = snapshot()
        from t2notebook.mesos._pymesos import load
        load().MasterDetector, load().MesosOperatorMasterDriver
    """,
}


@pytest.mark.parametrize("how", LOADS)
def test_loading_changes_nothing_global(how: str) -> None:
    code = f"import t2notebook\nbefore = snapshot()\n{textwrap.dedent(LOADS[how])}\n"
    code += "print(json.dumps([before, snapshot()]))"
    before, after = answer(code)
    new = set(after.pop("modules")) - set(before.pop("modules"))
    assert after == before
    foreign = {name for name in new if not name.startswith("t2notebook")}
    assert not foreign & {"http_parser", "http_parser.http", "pymesos", "zookeeper"}
    standard = {name for name in foreign if name.partition(".")[0] in sys.stdlib_module_names}
    assert foreign == standard
    assert f"{_pymesos.PACKAGE}.process" in new


def test_kazoo_and_the_operator_api_load_only_when_asked_for() -> None:
    names = ["kazoo", "t2notebook._vendor.pymesos.detector", "t2notebook._vendor.pymesos.operator_v1"]
    result = answer(f"""
        from t2notebook.mesos._pymesos import load
        names = {names}
        pymesos = load()
        before = [name in sys.modules for name in names]
        assert pymesos.MasterDetector is pymesos.MasterDetector
        assert pymesos.MesosOperatorMasterDriver.__name__ == "MesosOperatorMasterDriver"
        print(json.dumps({{"before": before, "after": [name in sys.modules for name in names]}}))
    """)
    assert result == {"before": [False] * 3, "after": [True] * 3}


def test_an_interrupt_still_reaches_the_process_itself() -> None:
    done = run_python("""
        from t2notebook.mesos._pymesos import load
        load()
        signal.raise_signal(signal.SIGINT)
    """)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_an_aborting_driver_does_not_interrupt_the_main_thread() -> None:
    """Published pymesos answers any exception on its I/O thread with interrupt_main()."""
    result = answer("""
        from t2notebook.mesos._pymesos import load
        logging.disable(logging.CRITICAL)
        driver = load().MesosSchedulerDriver(load().Scheduler(), {"user": "", "name": "x"}, "127.0.0.1:9")
        driver._get_version = lambda master: None
        driver.start()   # its connection asks for a parser and gets a RuntimeError
        driver._io_thread.join(10)
        print(json.dumps({"alive": driver._io_thread.is_alive(), "aborted": driver.aborted}))
    """)
    assert result == {"alive": False, "aborted": True}


def test_concurrent_first_loads_give_one_namespace() -> None:
    result = answer("""
        from t2notebook.mesos import _pymesos
        gate, got = threading.Barrier(8), []
        def work():
            gate.wait()
            got.append(_pymesos.load())
        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        print(json.dumps({"loads": len(got), "different": len(set(map(id, got)))}))
    """)
    assert result == {"loads": 8, "different": 1}


def test_the_names_are_there() -> None:
    pymesos = _pymesos.load()
    assert _pymesos.load() is pymesos
    assert pymesos.decode_data(pymesos.encode_data(b"\0x")) == b"\0x"
    assert pymesos.encode_data(b"\0x") == "AHg="
    assert hasattr(pymesos.Scheduler, "statusUpdate")
    driver = pymesos.MesosSchedulerDriver(pymesos.Scheduler(), {"name": "x"}, "h:1", failover=True)
    assert driver.framework["name"] == "x"
    assert not driver.connected


def test_the_parser_refuses_in_one_clear_line() -> None:
    with pytest.raises(RuntimeError, match="driver brings its transport"):
        _pymesos.HttpParser()


def test_only_pymesos_sees_the_stand_ins() -> None:
    _pymesos.load()
    process = sys.modules[f"{_pymesos.PACKAGE}.process"]
    assert process.HttpParser is _pymesos.HttpParser
    assert process.signal is not sys.modules["signal"]
    assert process.thread.interrupt_main() is None
    assert process.Thread is threading.Thread
    assert "http_parser" not in sys.modules


def test_a_missing_copy_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(_pymesos.PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(_pymesos, "_loaded", None)
    monkeypatch.setattr(_vendor, "__path__", [str(tmp_path)])
    with pytest.raises(ImportError, match=r"not installed.*pip install -e"):
        _pymesos.load()
    assert _pymesos.PACKAGE not in sys.modules


def test_a_failed_load_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(_pymesos.PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(_pymesos, "_loaded", None)
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "six", None)  # an environment without it
        with pytest.raises(ImportError, match="six"):
            _pymesos.load()
    assert f"{_pymesos.PACKAGE}.process" not in sys.modules
    assert _pymesos.load().MesosSchedulerDriver.__name__ == "MesosSchedulerDriver"
    for name in [name for name in sys.modules if name.startswith(_pymesos.PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)  # pytest's monkeypatch then puts the first ones back


def test_loading_is_cheap() -> None:
    """The session process starts with it; 3 ms here, on top of http.client, which tornado imports as well."""
    result = answer("""
        import http.client, importlib, time
        from t2notebook.mesos import _pymesos
        _pymesos.load()   # writes the bytecode where it can
        times = []
        for _ in range(3):
            for name in [name for name in sys.modules if name.startswith(_pymesos.PACKAGE)]:
                del sys.modules[name]
            _pymesos._loaded = None
            start = time.process_time()
            _pymesos.load()
            times.append(time.process_time() - start)
        print(json.dumps({"best": min(times)}))
    """)
    assert result["best"] < 0.1

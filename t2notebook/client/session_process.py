"""The session process: found by its socket, or started."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ..config import Config, data_dir, runtime_dir, secrets_of
from ..model.errors import SessionError
from ..protocol.unix_socket import ELSEWHERE, in_the_way
from .session_http import Connection, _living, _program
from .surroundings import is_embedded

#: Bytes of a log after which the next session begins a new one.
LONGEST_LOG = 1 << 20


def ensure_session(config: Config) -> Connection:
    """Return a connection to the session of `config`, started if there is none.

    Raises
    ------
    SessionError
        When it does not start: with the end of its log.
    """
    runtime = runtime_dir()
    connection = Connection(runtime / f"session-{config.session_key}.sock")
    if connection.is_alive():
        connection.introduce()
        return connection
    if (living := _living(connection.path)) is not None:
        return living
    try:
        with _locked(runtime / f"session-{config.session_key}.lock", 2 * config.start_timeout):
            if not connection.is_alive():
                if taken := in_the_way(connection.path):
                    raise SessionError(taken)
                _start(connection.path, config, runtime)
            connection.introduce()
    except IsADirectoryError as error:
        raise SessionError(
            f"no session process can be started: {error.filename} is a folder, and a file of ours is to be there: "
            f"move it away, or {ELSEWHERE}"
        ) from None
    except OSError as error:
        raise SessionError(
            f"no session process can be started: {error.strerror or error} ({error.filename or runtime}); "
            "JUPYTER_RUNTIME_DIR names the folder for its socket, JUPYTER_DATA_DIR that for its jobs"
        ) from None
    return connection


def _start(path: Path, config: Config, runtime: Path) -> None:
    log_path = path.with_suffix(".log")
    secrets = json.dumps(asdict(secrets_of(config))).encode() + b"\n"
    ours, theirs = os.pipe()
    settings = {
        "config": config.to_dict(),
        "runtime_dir": str(runtime),
        "data_dir": str(data_dir()),
        "socket": str(path),
        "ready_fd": theirs,
        "embedded": is_embedded(config),
    }
    try:
        with _open_log(log_path) as log:
            begin = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _program(), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        # Everybody on this machine can read a command line; this way only we can.
        assert process.stdin is not None
        try:
            process.stdin.write(secrets)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; what it said follows
        os.close(theirs)
        theirs = -1
        news = _read_line(ours, config.start_timeout)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    _reap_later(process)
    if news.get("ready"):
        return
    tail = log_path.read_bytes()[begin:].decode(errors="replace").strip().splitlines()[-15:]
    why = news.get("error") or f"it said nothing for {config.start_timeout:g} s"
    where = "\n".join([f"; the end of {log_path}:", *tail]) if tail else ""
    raise SessionError(f"the session process did not start: {why}{where}")


def _open_log(path: Path) -> BinaryIO:
    """Open a session's log, after what an earlier session of this place has said, and may still say.

    One that has become long is put aside first, as ``.log.1``.
    """
    try:
        if path.stat().st_size > LONGEST_LOG:
            os.replace(path, path.with_name(f"{path.name}.1"))
    except OSError:
        pass
    log = open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab")  # noqa: SIM115
    log.seek(0, os.SEEK_END)
    return log


def _environment() -> dict[str, str]:
    """Return our environment, without what the session is not to find before its own, and no secret of Mesos's."""
    kept = ("T2_MASTER", "T2_SECRET", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in kept}


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Wait for the session on a thread, so that it leaves no zombie while this kernel lives."""
    import threading

    threading.Thread(target=process.wait, name="t2-session-reaper", daemon=True).start()


def _read_line(descriptor: int, timeout: float) -> dict[str, Any]:
    ready, _, _ = select.select([descriptor], [], [], timeout)
    data = os.read(descriptor, 65536) if ready else b""
    if not ready:
        return {}
    return json.loads(data) if data else {"error": "it ended at once"}


@contextmanager
def _locked(path: Path, patience: float) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SessionError(
                        f"another kernel has been starting a session for {patience:g} s; it holds {path}"
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        # A process that another thread forked meanwhile has the descriptor too, and would keep the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

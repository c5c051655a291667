"""Requests to a session: HTTP over its Unix socket, on connections that are kept for the next request."""

from __future__ import annotations

import http.client
import io
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ..config import absolute_paths, data_dir
from ..journal import FILE, Lease, is_owned, read_meta, session_directories
from ..model.errors import SessionError, UnknownJob
from ..model.process import is_stopped
from ..model.text import dumps, loads
from ..model.watchers import OBSERVER_HEADER
from ..protocol.unix_socket import ELSEWHERE, SESSION_HEADER, is_listening
from . import peer_process

REQUEST_TIMEOUT = 60.0
#: What a session answers that is not the one a request is for.
MISDIRECTED = 421
#: Seconds that a living session has to be found where it listens now, and that a stopped one has to go on.
MOVE_PATIENCE, STOP_PATIENCE = 5.0, 1.0
#: Seconds that a process has to say that it is a session which does not look like one.
FOREIGN_PATIENCE = 2.0
#: Seconds between two looks at either.
_LOOK = 0.1
#: How many connections are kept open for later requests; as many as threads ask at once are made.
_KEPT = 4


class SessionEnding(SessionError):
    """The session takes no more requests, and has not taken this one: another session may."""


class SessionBroken(SessionError):
    """The connection broke before the answer came: nobody knows whether the request was carried out."""


class SessionStopped(SessionError):
    """The session process is stopped; the message says what to do about it."""


class NotASession(SessionError):
    """Another program listens at a session's place; the message says which, and what to do about it."""


class _Misdirected(Exception):
    """Another session answered, or another program: what was asked for has not been done."""


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("session", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Stream:
    """Lines from a session; it ends when the session does, or with `abort` on another thread."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self._connection, self._answer = connection, answer

    def readline(self) -> bytes:
        """Wait for a line and return it; empty at the end."""
        return self._answer.readline()

    def abort(self) -> None:
        """End it from this side; a `readline` under way returns."""
        if (sock := self._connection.sock) is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was quicker

    def finish(self) -> None:
        """Ask the session to end it: what it has sent by then still comes, and after that the end."""
        if (sock := self._connection.sock) is not None:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side was quicker

    def leave_to_parent(self) -> None:
        """Close a fork's copy of the connection, and no more: the parent goes on with it.

        Its reader may hold a lock for ever here, so it is not closed in good order.
        """
        if (sock := self._connection.sock) is not None and (descriptor := sock.detach()) >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Free its connection; only on the thread that reads."""
        self._answer.close()
        self._connection.close()


class Connection:
    """Requests to one session, and to no other that took its place; safe on any thread.

    Parameters
    ----------
    path : Path
        The session's socket.
    name : str
        The session's; empty: whichever answers first, and that one from then on.
    directory : Path, optional
        A journal that it owns: there it says where it listens, if not at `path`.
    is_observer : bool
        Whether what is asked here keeps the session alive no longer than it would live anyway.

    Attributes
    ----------
    keeps : bool
        Whether connections are kept for the next request; whoever sets it has to `close`.
    """

    keeps = False

    def __init__(
        self, path: Path, name: str = "", directory: Path | None = None, *, is_observer: bool = False
    ) -> None:
        self.path = path
        self.name = name
        self._directory = directory
        self._is_observer = is_observer
        self._idle: list[_UnixConnection] = []
        self._pid = os.getpid()

    @classmethod
    def of(cls, meta: Mapping[str, str], directory: Path, *, is_observer: bool = False) -> Connection:
        """Return a connection to the owner of a journal, from the facts that it keeps there.

        Parameters
        ----------
        meta : mapping
            The facts.
        directory : Path
            The journal's.
        is_observer : bool
            Whether the connection keeps no session alive.
        """
        return cls(Path(meta.get("socket", "")), meta.get("name", ""), directory, is_observer=is_observer)

    def is_same(self, other: Connection) -> bool:
        """Whether both lead to the same session."""
        return self.name == other.name if self.name and other.name else self.path == other.path

    def pin(self, info: Mapping[str, Any]) -> None:
        """Keep to the session that says this of itself, from now on."""
        self.name = self.name or str(info.get("name", ""))
        self._directory = self._directory or Path(info["directory"])

    def introduce(self) -> None:
        """Learn the name of the session that listens, and keep to that one.

        Raises
        ------
        NotASession
        SessionEnding, SessionBroken, SessionStopped
        """
        if self.name:
            return
        pid = peer_process.listener_at(self.path)
        is_foreign = peer_process.is_foreign(pid)
        patience = FOREIGN_PATIENCE if is_foreign else REQUEST_TIMEOUT
        try:
            self.pin(loads(self._request_once("GET", "/v1/info", None, patience)[0]))
        except (_Misdirected, ValueError, KeyError, TypeError):
            raise NotASession(_taken(self.path, pid)) from None
        except SessionError:  # also one of ours that is just ending
            if is_foreign:
                raise NotASession(_taken(self.path, pid)) from None
            raise

    def get(self, path: str, **query: Any) -> Any:
        """GET a JSON answer."""
        return loads(self._request("GET", path, None, query)[0])

    def post(self, path: str, content: Mapping[str, Any]) -> Any:
        """POST JSON and return the JSON answer."""
        return loads(self._request("POST", path, content, {})[0])

    def post_bytes(self, path: str, data: bytes, **query: Any) -> Any:
        """POST raw bytes and return the JSON answer."""
        return loads(self._request("POST", path, data, query)[0])

    def get_bytes(self, path: str, **query: Any) -> tuple[bytes, Mapping[str, str]]:
        """GET raw bytes and the answer's headers."""
        return self._request("GET", path, None, query)

    def is_alive(self) -> bool:
        """Whether somebody listens."""
        if is_listening(self.path, 2.0):
            return True
        moved = self._current_socket()
        return moved is not None and is_listening(moved, 2.0)

    def open_stream(self, path: str) -> Stream:
        """Open a stream of lines.

        Raises
        ------
        SessionEnding
            Also for a session that was killed, and still accepts connections while it dies.
        """
        connection = self._connect()
        try:
            connection.request("GET", path, headers=self._headers())
            assert connection.sock is not None
            _await_answer(connection.sock, peer_process.pid_of(connection.sock))
            answer = _answer_of(connection)
            self._check_sender(answer.status, answer.headers.get(SESSION_HEADER, ""))
            if answer.status != 200:
                raise http.client.HTTPException(f"HTTP {answer.status}")
            connection.sock.settimeout(None)
        except _Misdirected:
            connection.close()
            self._find_again()
            return self.open_stream(path)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            why = error or type(error).__name__
            raise SessionEnding(f"the session does not let itself be watched: {why}") from None
        except SessionStopped:
            connection.close()
            raise
        return Stream(connection, answer)

    def open_frames(self, path: str) -> socket.socket:
        """Open a connection that is one of frames from then on (`protocol.frames`).

        Raises
        ------
        SessionEnding
        UnknownJob
        """
        while True:
            connection = self._connect()
            sock = connection.sock
            assert sock is not None
            lines = [f"GET {path} HTTP/1.1", "Host: session", "Connection: Upgrade", "Upgrade: t2-frames"]
            lines += [f"{name}: {value}" for name, value in self._headers().items()]
            try:
                sock.sendall("\r\n".join([*lines, "", ""]).encode())
                _await_answer(sock, peer_process.pid_of(sock))
                head = b""
                # Byte by byte, since the first frame may follow at once.
                while not head.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
                    head += byte
                if head and not head.startswith(b"HTTP/"):
                    raise _Misdirected
                status = int(head.split(b" ", 2)[1])
                headers = http.client.parse_headers(io.BytesIO(head.partition(b"\r\n")[2]))
                self._check_sender(status, headers.get(SESSION_HEADER, ""))
            except _Misdirected:
                connection.close()
                self._find_again()
                continue
            except (OSError, ValueError, IndexError) as error:
                connection.close()
                raise SessionEnding(f"the session takes no calls: {error or type(error).__name__}") from None
            except SessionStopped:
                connection.close()
                raise
            if status == 101:
                sock.settimeout(None)
                return sock
            connection.close()
            raise {404: UnknownJob}.get(status, SessionEnding)(f"the session takes no calls (HTTP {status})")

    def _request(
        self, method: str, path: str, content: Mapping[str, Any] | bytes | None, query: Mapping[str, Any]
    ) -> tuple[bytes, Mapping[str, str]]:
        target = f"{path}?{urlencode(query)}" if query else path
        body = content if content is None or isinstance(content, bytes) else dumps(content).encode()
        if path != "/v1/info":
            self.introduce()
        while True:
            try:
                return self._request_once(method, target, body)
            except _Misdirected:
                self._find_again()

    def _request_once(
        self, method: str, target: str, body: bytes | None, patience: float = 0.0
    ) -> tuple[bytes, Mapping[str, str]]:
        patience = patience or REQUEST_TIMEOUT
        connection = self._kept() or self._connect()
        assert connection.sock is not None
        pid = peer_process.pid_of(connection.sock)
        headers = self._headers() | ({"Content-Type": "application/json"} if body else {})
        is_over = False
        try:
            connection.request(method, target, body, headers)
            _await_answer(connection.sock, pid, patience)
            answer = _answer_of(connection)
            self._check_sender(answer.status, answer.headers.get(SESSION_HEADER, ""))
            data = answer.read()
            is_over = not answer.will_close
        except TimeoutError:
            raise SessionBroken(
                f"the session process{_called(pid)} has not answered for {patience:g} s{_advice(pid)}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            # A session that was killed still accepts connections while it dies. What only asks may be asked again.
            gone = SessionEnding if method == "GET" else SessionBroken
            raise gone(
                f"the session process{_called(pid)} went away before it answered ({error or type(error).__name__}); "
                "t2.jobs() says what came of it"
            ) from None
        finally:
            if is_over and self.keeps and len(self._idle) < _KEPT and self._pid == os.getpid():
                self._idle.append(connection)
            else:
                connection.close()
        if answer.status >= 400:
            try:
                text = loads(data)["error"]
            except (ValueError, KeyError):
                text = data.decode("utf-8", "replace") or answer.reason
            raise {404: UnknownJob, 503: SessionEnding}.get(answer.status, SessionError)(text)
        return data, dict(answer.headers.items())

    def _check_sender(self, status: int, name: str) -> None:
        """Let nobody answer but the session that was asked; any, as long as its name is not known.

        Raises
        ------
        _Misdirected
        """
        if status == MISDIRECTED or not name or name != (self.name or name):
            raise _Misdirected

    def _headers(self) -> dict[str, str]:
        headers = {OBSERVER_HEADER: "1"} if self._is_observer else {}
        return headers | ({SESSION_HEADER: self.name} if self.name else {})

    def _kept(self) -> _UnixConnection | None:
        """Return a kept connection whose other side lives and runs; None if there is none."""
        if self._pid != os.getpid():
            for connection in self._idle:  # the parent's, which goes on with them
                if (sock := connection.sock) is not None and (descriptor := sock.detach()) >= 0:
                    os.close(descriptor)
            self._idle, self._pid = [], os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break  # another thread was quicker
            sock = connection.sock
            # What can be read between two answers is the end.
            if sock is not None and not _is_readable(sock) and not is_stopped(peer_process.pid_of(sock)):
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Keep no connections any more."""
        self.keeps = False
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                break

    def _connect(self) -> _UnixConnection:
        """Return an open connection to where the session listens now; nothing is sent yet.

        Raises
        ------
        SessionEnding
            When it lives no more.
        SessionStopped
        """
        deadline = time.monotonic() + MOVE_PATIENCE
        while True:
            connection = _UnixConnection(self.path, timeout=REQUEST_TIMEOUT)
            try:
                connection.connect()
                break
            except OSError:
                connection.close()
            moved = self._current_socket()
            if moved is None or time.monotonic() > deadline:
                raise SessionEnding("the session process has ended")
            self.path = moved
            time.sleep(_LOOK)  # its socket was removed, and it is about to make another
        assert connection.sock is not None
        pid = peer_process.pid_of(connection.sock)
        deadline = time.monotonic() + STOP_PATIENCE
        while is_stopped(pid):
            if time.monotonic() > deadline:
                connection.close()
                raise _stopped(pid)
            time.sleep(_LOOK)
        return connection

    def _current_socket(self) -> Path | None:
        """Return the socket that the session says it listens at; None when it is not known to live."""
        if self._directory is None or not self.name:
            return None
        try:
            meta = read_meta(self._directory)
        except Exception:
            # Gone, or not to be read just now.
            return self.path if (self._directory / FILE).exists() else None
        return Path(meta["socket"]) if meta.get("name") == self.name and is_owned(meta) else None

    def _find_again(self) -> None:
        """Turn to the socket that the session listens at now, since another has its old one.

        Raises
        ------
        SessionEnding
            When it lives no more.
        """
        deadline = time.monotonic() + MOVE_PATIENCE
        while (moved := self._current_socket()) is not None:
            if moved != self.path:
                self.path = moved
                return
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK)
        raise SessionEnding("the session process has ended, and another has taken its place")


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _answer_of(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Return the beginning of an answer.

    Raises
    ------
    _Misdirected
        When who answers speaks no HTTP: no session of ours does that.
    OSError, HTTPException
    """
    try:
        return connection.getresponse()
    except http.client.RemoteDisconnected:
        raise  # a session that was killed ends like this
    except (http.client.BadStatusLine, http.client.UnknownProtocol, http.client.LineTooLong):
        raise _Misdirected from None


def _taken(path: Path, pid: int) -> str:
    who = peer_process.called(pid) if pid else "another program"
    ends = f"end it ('kill {pid}')" if pid else "end it"
    what = "no session" if peer_process.is_foreign(pid) or not pid else "a session of another version"
    return f"{who} listens where this session would, at {path}, and is {what}: {ends}, or {ELSEWHERE}"


def _await_answer(sock: socket.socket, pid: int, patience: float = 0.0) -> None:
    """Wait for the answer to begin.

    Raises
    ------
    SessionStopped
        What was asked may yet be done when the session goes on.
    TimeoutError
    """
    begun = seen_running = time.monotonic()
    poll = select.poll()  # a kernel may have more descriptors than select() takes
    poll.register(sock, select.POLLIN)
    while not poll.poll(500):
        now = time.monotonic()
        if not is_stopped(pid):
            seen_running = now
        elif now - seen_running > STOP_PATIENCE:
            raise _stopped(pid)
        if now - begun > (patience or REQUEST_TIMEOUT):
            raise TimeoutError


def _stopped(pid: int) -> SessionStopped:
    return SessionStopped(f"the session process{_called(pid)} is stopped{_advice(pid, stopped=True)}")


def _called(pid: int) -> str:
    return f" (pid {pid})" if pid else ""


def _advice(pid: int, *, stopped: bool = False) -> str:
    """Say what to do about a session that does not answer."""
    ends = "the next submit starts another, which takes its jobs over"
    if not pid:
        return f"; end it, and {ends}"
    goes_on = f"'kill -CONT {pid}' lets it go on, " if stopped else ""
    return f"; {goes_on}'kill -9 {pid}' ends it, and {ends}"


def _living(path: Path) -> Connection | None:
    """Return a connection to a living session whose socket at `path` was removed, as soon as it listens again.

    One on another host that shares this home directory has a socket of the same name, there.
    """
    for directory in session_directories(data_dir() / "sessions"):
        try:
            meta = read_meta(directory)
        except Exception:
            continue  # not a journal that we can read
        if meta.get("home") != str(path) or not is_owned(meta) or not meta.get("name"):
            continue
        if (owner := Lease.decode(meta["owner"])) is None or not owner.is_here:
            continue
        connection = Connection.of(meta, directory)
        deadline = time.monotonic() + MOVE_PATIENCE
        while connection._current_socket() is not None and time.monotonic() < deadline:
            if connection.is_alive():
                return connection
            time.sleep(_LOOK)
    return None


def _program() -> str:
    """Return what a session's interpreter runs: the very package that we are of, wherever it lies.

    Nothing goes before the standard library: beside an installed package there may be old backports of it
    (``dataclasses``, ``typing``, ``enum34``), which no session could start with.
    """
    package = Path(__file__).resolve().parents[1]
    # Where packages may lie that the interpreter does not find by itself.
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    more = absolute_paths((*given, *installed, str(package.parent)))
    return (
        "import importlib.util, sys\n"
        f"sys.path += [path for path in {more!r} if path not in sys.path]\n"
        f"spec = importlib.util.spec_from_file_location('t2notebook', {str(package / '__init__.py')!r})\n"
        "package = sys.modules['t2notebook'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(package)\n"
        "from t2notebook.session.__main__ import main\n"
        "main()\n"
    )

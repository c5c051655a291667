"""The files API: sandboxes over HTTP, by real path and by virtual path; nothing outside of them."""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import stat
from dataclasses import dataclass, field
from typing import Any

from . import http1

Json = dict[str, Any]

MAX_READ = 16 * os.sysconf("SC_PAGE_SIZE")
"""A read gives 16 pages at most."""


class FilesError(Exception):
    """A path that is not to be had."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Files:
    """The attached directories: name on the wire -> real directory."""

    attached: dict[str, str] = field(default_factory=dict)

    def attach(self, name: str, directory: str) -> None:
        """Make a directory visible."""
        self.attached[name] = directory

    def resolve(self, path: str) -> str:
        """Find the real path of what is asked for.

        Raises
        ------
        FilesError
            404 when nothing is attached there or it does not exist, 400 when a link leads out.
        """
        parts = path.rstrip("/").split("/")
        for count in range(len(parts), 0, -1):
            directory = self.attached.get("/".join(parts[:count]))
            if directory is None:
                continue
            rest = parts[count:]
            if ".." in rest:
                break
            wanted = os.path.join(directory, *rest)
            real, root = os.path.realpath(wanted), os.path.realpath(directory)
            if not os.path.exists(real):
                break
            if real != root and not real.startswith(root + os.sep):
                raise FilesError(400, f"'{wanted}' is inaccessible.\n")
            return wanted
        raise FilesError(404, "")

    # GET

    def get(self, request: http1.Request, path: str) -> http1.Response:
        """Answer /files/..."""
        handlers = {
            "/files/browse": self.browse,
            "/files/read": self.read,
            "/files/download": self.download,
            "/files/debug": self.debug,
        }
        handler = handlers.get(path)
        if handler is None:
            return http1.not_found()
        try:
            return handler(request)
        except FilesError as error:
            return http1.text(error.status, str(error))
        except OSError as error:
            return http1.text(400, f"Failed to open file: {error.strerror}")

    def browse(self, request: http1.Request) -> http1.Response:
        """Answer /files/browse."""
        infos = [_old_info(path, status) for path, status in self._list(self._path(request))]
        return _json(infos, request)

    def read(self, request: http1.Request) -> http1.Response:
        """Answer /files/read: bytes that are no UTF-8 stand in the JSON as they are, as recorded.

        Raises
        ------
        FilesError
            The request is malformed, or there is no such file.
        """
        path = self._path(request)
        offset = _integer(request, "offset", -1)
        length = _integer(request, "length", -1)
        if offset < -1:
            raise FilesError(400, f"Negative offset provided: {offset}.\n")
        if length < -1:
            raise FilesError(400, f"Negative length provided: {length}.\n")
        size, start, data = self._read(
            path, None if offset == -1 else offset, None if length == -1 else length
        )
        if offset == -1:
            start, data = size, b""
        text = json.dumps(data.decode("latin-1"), ensure_ascii=False).encode("latin-1")
        return _wrap(b'{"data":' + text + b',"offset":%d}' % start, request)

    def download(self, request: http1.Request) -> http1.Response:
        """Answer /files/download.

        Raises
        ------
        FilesError
            There is no such file.
        """
        path = self._path(request)
        try:
            real = self.resolve(path)
        except FilesError as error:
            raise FilesError(error.status, "404 Not Found." if error.status == 404 else str(error)) from None
        if os.path.isdir(real):
            raise FilesError(400, "Cannot download a directory.\n")
        if not stat.S_ISREG(os.stat(real).st_mode):
            raise FilesError(400, f"'{real}' is not a regular file.")
        with open(real, "rb") as file:
            body = file.read()
        name = os.path.basename(real).replace('"', "").replace("\n", "")
        shown = f'"{name}"' if " " in name else name
        headers = [
            ("Content-Disposition", f"attachment; filename={shown}"),
            ("Content-Type", "application/octet-stream"),
        ]
        return http1.Response(200, body, late_headers=headers, gzip=False, length_first=True)

    def debug(self, request: http1.Request) -> http1.Response:
        """Answer /files/debug."""
        return _json(dict(sorted(self.attached.items())), request)

    # v1

    def list_v1(self, path: str) -> Json:
        """Answer LIST_FILES."""
        infos = [_new_info(name, status) for name, status in self._list(path)]
        return {"type": "LIST_FILES", "list_files": {"file_infos": infos}}

    def read_v1(self, path: str, offset: int, length: int | None) -> Json:
        """Answer READ_FILE.

        Parameters
        ----------
        offset, length
            Bytes; all to the end if `length` is None.
        """
        size, _, data = self._read(path, offset, length)
        return {"type": "READ_FILE", "read_file": {"size": size, "data": base64.b64encode(data).decode()}}

    def _path(self, request: http1.Request) -> str:
        path = request.query.get("path", "")
        if not path:
            raise FilesError(400, "Expecting 'path=value' in query.\n")
        return path

    def _list(self, path: str) -> list[tuple[str, os.stat_result]]:
        real = self.resolve(path)
        if not os.path.isdir(real):
            return []
        found = []
        for name in sorted(os.listdir(real)):
            try:
                found.append((os.path.join(path.rstrip("/"), name), os.stat(os.path.join(real, name))))
            except OSError:
                continue
        return found

    def _read(self, path: str, offset: int | None, length: int | None) -> tuple[int, int, bytes]:
        real = self.resolve(path)
        if os.path.isdir(real):
            raise FilesError(400, "Cannot read a directory.\n")
        # A fifo would block, and a device is nobody's log.
        if not stat.S_ISREG(os.stat(real).st_mode):
            raise FilesError(400, f"'{real}' is not a regular file.")
        with open(real, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = size if offset is None else offset
            wanted = MAX_READ if length is None else min(length, MAX_READ)
            data = b"" if start >= size else os.pread(file.fileno(), wanted, start)
        return size, start, data


def _integer(request: http1.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise FilesError(400, f"Failed to parse {name}: Failed to convert '{text}' to number.\n") from None


def _json(value: Any, request: http1.Request) -> http1.Response:
    return _wrap(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"), request
    )


def _wrap(body: bytes, request: http1.Request) -> http1.Response:
    callback = request.query.get("jsonp")
    if callback is None:
        return http1.Response(200, body, late_headers=[("Content-Type", http1.JSON)])
    body = callback.encode() + b"(" + body + b");"
    return http1.Response(200, body, late_headers=[("Content-Type", "text/javascript")])


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _old_info(path: str, status: os.stat_result) -> Json:
    return {
        "gid": _group(status.st_gid),
        "mode": stat.filemode(status.st_mode),
        "mtime": float(int(status.st_mtime)),
        "nlink": status.st_nlink,
        "path": path,
        "size": status.st_size,
        "uid": _user(status.st_uid),
    }


def _new_info(path: str, status: os.stat_result) -> Json:
    return {
        "path": path,
        "nlink": status.st_nlink,
        "size": status.st_size,
        "mtime": {"nanoseconds": int(status.st_mtime) * 1_000_000_000},
        "mode": status.st_mode,
        "uid": _user(status.st_uid),
        "gid": _group(status.st_gid),
    }

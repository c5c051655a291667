"""Directories that a kernel and its session share: of living processes, and of what outlives them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ..model.errors import Twister2Error

#: Bytes of the longest path that a Unix socket takes (unix(7); macOS, sys/un.h), and our longest name of one.
LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_LONGEST_NAME = "/session-0123456789abcdef-01234567.sock"


def runtime_dir() -> Path:
    """Return the 0700 directory for sockets and state files of living processes, made if absent.

    A Unix socket's path ends at 107 bytes, so a long one is replaced by a directory of the user's under the
    temporary directory.

    Raises
    ------
    Twister2Error
        When it cannot be made, or others could write to it.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    path = absolute(jupyter_runtime_dir()) / "t2notebook"
    if len(os.fsencode(path)) > LONGEST_SOCKET - len(_LONGEST_NAME):
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path("/tmp") / f"t2notebook-{os.getuid()}-{digest}"
        if path.is_symlink():
            raise Twister2Error(
                f"{path} is a link that anybody can have made; remove it, or set JUPYTER_RUNTIME_DIR"
            )
    return _private(path, "JUPYTER_RUNTIME_DIR")


def data_dir() -> Path:
    """Return the 0700 directory for journals, job packages and results, made if absent."""
    from jupyter_core.paths import jupyter_data_dir

    return _private(absolute(jupyter_data_dir()) / "t2notebook", "JUPYTER_DATA_DIR")


def absolute(folder: str) -> Path:
    """Return what a directory's name means where this kernel began: a notebook may change its directory, and a session
    has another one.
    """
    return Path(os.path.normpath(_BEGINNING / folder))


def absolute_paths(paths: Iterable[str]) -> list[str]:
    """Return absolute forms of paths, each once; relative ones are left out when the current directory was removed."""
    try:
        os.getcwd()
    except OSError:
        paths = [path for path in paths if os.path.isabs(path)]
    return list(dict.fromkeys(os.path.abspath(path) for path in paths))


def _here() -> Path:
    main = sys.modules.get("__main__")
    history = vars(main).get("_dh") if main is not None else None  # IPython's, whose first is where it began
    if isinstance(history, list) and history:
        return Path(str(history[0]))
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


_BEGINNING = _here()


def _private(path: Path, variable: str) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Twister2Error(
            f"t2notebook needs the folder {os.fsencode(path)!r}, whose name is no UTF-8, or no text in this locale "
            f"({sys.getfilesystemencoding()}); {variable} names another"
        ) from None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise Twister2Error(
            f"t2notebook needs the folder {path}, which cannot be made: {error.strerror}; {variable} names another"
        ) from None
    if status.st_uid != os.getuid():
        raise Twister2Error(
            f"{path} belongs to another user (uid {status.st_uid}); remove it or set {variable}"
        )
    if status.st_mode & 0o077:
        try:
            path.chmod(0o700)
        except OSError as error:
            raise Twister2Error(
                f"{path} is open to other users, and cannot be closed to them: {error.strerror}; "
                f"{variable} names another folder"
            ) from None
    return path

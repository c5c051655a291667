"""Sockets that somebody listens at, that nobody does any more, and that are none."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from t2notebook.protocol.unix_socket import is_listening


def test_who_listens_is_told_apart_from_who_did() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a short path: a socket's ends at 107 bytes
        path = Path(folder) / "s.sock"
        assert not is_listening(path, 1.0)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            assert not is_listening(path, 1.0), "bound, but not listening yet"
            server.listen()
            assert is_listening(path, 1.0)
        assert path.exists()
        assert not is_listening(path, 1.0), "its file is left, and nobody behind it"
        path.unlink()
        path.write_text("no socket")
        assert not is_listening(path, 1.0)
        assert not is_listening(Path(folder) / ("x" * 200), 1.0), "too long for a socket"

"""The log of the sessions of one place: a later session takes nothing away of what an earlier one says."""

from __future__ import annotations

from pathlib import Path

from t2notebook.client import session_process


def test_a_second_session_goes_on_where_the_first_one_stands(tmp_path: Path) -> None:
    path = tmp_path / "session.log"
    with session_process._open_log(path) as first:
        first.write(b"first\n")
        first.flush()
        with session_process._open_log(path) as second:
            assert second.tell() == len(b"first\n"), "what is said of a failed start begins here"
            second.write(b"second\n")
        first.write(b"still there\n")
    assert path.read_text() == "first\nsecond\nstill there\n"
    assert path.stat().st_mode & 0o077 == 0


def test_a_long_one_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "session.log"
    path.write_bytes(bytes(session_process.LONGEST_LOG + 1))
    session_process._open_log(path).close()
    assert path.read_bytes() == b""
    assert len((tmp_path / "session.log.1").read_bytes()) == session_process.LONGEST_LOG + 1

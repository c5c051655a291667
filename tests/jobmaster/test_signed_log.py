"""The log of a job master on the cluster: what it gives back, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from t2notebook.jobmaster.actions import (
    DRIVER,
    Barrier,
    DropAnswers,
    DropBarrier,
    DropJob,
    DropMessages,
    PutAnswer,
    PutBarrier,
    PutMessage,
)
from t2notebook.jobmaster.signed_log import ROOM, SignedLog

SECRET = "5e" * 32


def again(path: Path) -> SignedLog:
    return SignedLog(str(path), SECRET)


def holds(path: Path, data: bytes | None = None, secret: str = SECRET) -> tuple[int, int]:
    """Return how many messages and answers a log holds."""
    log = SignedLog(str(path), secret, data)
    kept = log.kept()
    log.close()
    return len(list(kept.messages)), len(list(kept.answers))


def filled(path: Path) -> SignedLog:
    log = again(path)
    log.write(
        [
            ("j", PutBarrier(Barrier.INIT, 3, 600.0, 1)),
            ("j", PutBarrier(Barrier.DEFAULT, 3, 100.0, 1)),
            ("j", DropBarrier(Barrier.DEFAULT)),
            ("j", PutAnswer(1, 0, 7, {"result": "SUCCESS"})),
            ("j", PutAnswer(2, 0, 3, {"result": "SUCCESS"})),
            ("j", PutAnswer(2, 0, 5, {"result": "TIMED_OUT"})),
            ("j", DropAnswers(2, 5)),
            ("j", PutMessage(1, 1, 0, b"read")),
            ("j", PutMessage(1, 2, DRIVER, b"\x00\xffunread")),
            ("j", PutMessage(DRIVER, 1, 2, b"home")),
            ("j", DropMessages(1, 1)),
        ]
    )
    return log


def test_it_gives_back_what_holds(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = filled(path)
    assert not first.was_there
    first.close()
    for _ in range(2):  # the second time from what the first has written anew
        log = again(path)
        kept = log.kept()
        log.close()
        assert log.was_there
        assert list(kept.barriers) == [Barrier.INIT]
        expected, left, faults = kept.barriers[Barrier.INIT]
        assert (expected, faults) == (3, 1) and 500 < left <= 600
        assert sorted(kept.answers) == [(1, 0, 7, {"result": "SUCCESS"}), (2, 0, 5, {"result": "TIMED_OUT"})]
        assert sorted(kept.messages) == [(DRIVER, 1, 2, b"home"), (1, 2, DRIVER, b"\x00\xffunread")]
        assert kept.last == {1: 2, DRIVER: 1}
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_cut_off_is_not_there_and_all_before_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filled(path).close()
    whole = path.read_bytes()
    seen = [holds(tmp_path / "other", whole[:length]) for length in range(len(whole) + 1)]
    assert seen[0] == (0, 0) and seen[-1] == (2, 2)
    # In the order in which it was written, one record after the other.
    order = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 2), (1, 2), (2, 2), (3, 2), (2, 2)]
    assert [one for at, one in enumerate(seen) if not at or one != seen[at - 1]] == order


def test_a_forged_log_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filled(path).close()
    data = bytearray(path.read_bytes())
    assert holds(tmp_path / "other", bytes(data), "ab" * 32) == (0, 0)
    data[-1] ^= 1  # the last record's proof: what it says has not happened
    assert holds(tmp_path / "other", bytes(data)) == (3, 2)
    data[20] ^= 1
    assert holds(tmp_path / "other", bytes(data)) == (0, 0)


def test_it_does_not_grow_with_what_has_been_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = again(path)
    payload = b"x" * (1 << 20)
    for number in range(1, 40):
        log.write([("j", PutMessage(0, number, 1, payload)), ("j", DropMessages(0, number))])
    assert path.stat().st_size <= ROOM + 6 * len(payload)
    log.write([("j", DropJob())])
    log.close()
    log = again(path)
    assert log.kept().last == {0: 39}
    log.close()

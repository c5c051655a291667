"""Checkpoints: whole or not at all, and a family of workers that goes back to the version that all have."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from t2notebook.model.errors import CheckpointError
from t2notebook.protocol.launch import WorkerLaunch
from t2notebook.worker.process import checksums
from t2notebook.worker.process.checkpoint import Checkpoint
from t2notebook.worker.process.checkpoint_files import CHUNK, Files, LocalFiles, Piece, files_at
from t2notebook.worker.process.checksums import BLOCK
from t2notebook.worker.process.snapshots import Snapshots


class JobMaster:
    """A job master that knows how many failures there were."""

    def __init__(self, faults: int = 0, number_of_workers: int = 2, is_new: bool = False) -> None:
        self.faults = faults
        self.number_of_workers, self.is_new = number_of_workers, is_new
        self.asked: list[Mapping[str, Any]] = []

    def connect(self) -> None:
        pass

    def ask(self, record: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        self.asked.append(record)
        return {}, b""


def checkpoint(
    root: Path | str,
    worker: int = 0,
    faults: int = 0,
    job: str = "me-job-1",
    earlier: Sequence[str] = (),
    *,
    of: int = 2,
    is_new: bool = False,
    incarnation: int | None = None,
) -> Checkpoint:
    count = faults if incarnation is None else incarnation
    launch = WorkerLaunch(
        job, worker, count, 2, "00", "http://x:1", "0", 1, "3.11", 1, 64, restore_jobs=tuple(earlier)
    )
    return Checkpoint(str(root), launch, JobMaster(faults, of, is_new))  # type: ignore[arg-type]


def committed(one: Checkpoint, *values: Any) -> Checkpoint:
    one.init_variable("x")
    for value in values:
        one.update_variable("x", value)
        one.commit()
    return one


def test_a_variable_has_the_value_of_the_last_commit(tmp_path: Path) -> None:
    one = checkpoint(tmp_path)
    assert one.init_variable("step", 0) == 0
    assert one.init_variable("model", None) is None
    one.update_variable("step", 5)
    one.update_variable("model", np.arange(6).reshape(2, 3))
    assert one.commit() == 1
    one.update_variable("step", 6)  # never committed
    again = checkpoint(tmp_path, faults=1)
    assert again.init_variable("step", 0) == 5
    model = again.init_variable("model")
    assert model.tolist() == [[0, 1, 2], [3, 4, 5]]
    model += 1  # it can be written to
    assert again.init_variable("new", "default") == "default"
    assert again.version == 1


def test_all_go_back_to_the_version_that_all_have(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path, 0), "a1", "a2", "a3")
    committed(checkpoint(tmp_path, 1), "b1", "b2")
    zero = checkpoint(tmp_path, 0, faults=1)
    assert zero.init_variable("x") == "a2"
    zero.update_variable("x", "a3 again")
    zero.commit()
    zero.update_variable("x", "a4")
    zero.commit()
    late = checkpoint(tmp_path, 1, faults=1)
    assert late.init_variable("x") == "b2", "what the others have done since changes nothing"
    # The next failure: what was committed since counts.
    late.update_variable("x", "b3")
    late.commit()
    assert checkpoint(tmp_path, 0, faults=2).init_variable("x") == "a3 again"


def test_a_worker_that_goes_on_begins_anew_when_it_asks_after_a_failure(tmp_path: Path) -> None:
    one = committed(checkpoint(tmp_path, 0), 1, 2)
    committed(checkpoint(tmp_path, 1), 1)
    assert one.init_variable("x") == 2
    one._client.faults = 1
    assert one.init_variable("x") == 1
    assert one.version == 1


def test_a_member_that_has_committed_nothing_takes_all_back_to_the_beginning(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path, 0), 1, 2)
    checkpoint(tmp_path, 1).init_variable("x")
    assert checkpoint(tmp_path, 0, faults=1).init_variable("x", "default") == "default"


def test_a_restarted_job_goes_on_from_the_earlier_one_and_leaves_that_as_it_is(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path, 0), "a1", "a2")
    committed(checkpoint(tmp_path, 1), "b1")
    before = sorted(path.name for path in (tmp_path / "me-job-1").rglob("*"))
    second = checkpoint(tmp_path, 0, job="me-job-2", earlier=["me-job-1"])
    assert second.init_variable("x") == "a1"
    assert sorted(path.name for path in (tmp_path / "me-job-1").rglob("*")) == before
    # The second ends before it has committed anything; the third goes on from the first.
    third = checkpoint(tmp_path, 1, job="me-job-3", earlier=["me-job-2", "me-job-1"])
    assert third.init_variable("x") == "b1"
    # A failure before the first commit takes a restarted job to where it began.
    assert checkpoint(tmp_path, 1, 1, "me-job-3", ["me-job-2", "me-job-1"]).init_variable("x") == "b1"


def test_old_versions_are_removed_but_not_what_others_need(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path, 1), *range(3))
    committed(checkpoint(tmp_path, 0), *range(20))
    versions = Snapshots(LocalFiles(str(tmp_path)), "me-job-1/checkpoints/worker-0").versions()
    assert 3 in versions and 20 in versions
    committed(checkpoint(tmp_path / "alone", 0), *range(50))
    assert len(Snapshots(LocalFiles(str(tmp_path / "alone")), "me-job-1/checkpoints/worker-0").versions()) < 8


def test_what_a_worker_still_writes_that_was_replaced_counts_for_nothing(tmp_path: Path) -> None:
    """It was away for long, and comes back in the middle of its work, when another has taken its place."""
    committed(checkpoint(tmp_path, 1), *range(9))
    old = committed(checkpoint(tmp_path, 0), "1", "2", "3")
    new = checkpoint(tmp_path, 0, faults=1)
    assert new.init_variable("x") == "3"
    for value in ("old 4", "old 5"):
        old.update_variable("x", value)
        old.commit()
    files = LocalFiles(str(tmp_path))
    assert Snapshots(files, "me-job-1/checkpoints/worker-0").versions() == [1, 2, 3]
    new.update_variable("x", "new 4")
    assert new.commit() == 4
    old._version = 3
    old.update_variable("x", "old 4, again")
    old.commit()
    old._snapshots().remove(4)
    assert Snapshots(files, "me-job-1/checkpoints/worker-0").versions() == [1, 2, 3, 4]
    assert checkpoint(tmp_path, 0, faults=2).init_variable("x") == "new 4"


def test_one_that_comes_later_goes_on_where_the_others_are(tmp_path: Path) -> None:
    for worker in (0, 1):
        committed(checkpoint(tmp_path, worker), *range(1, 11))
    third = checkpoint(tmp_path, 2, of=3, is_new=True)
    assert third.init_variable("x", "begin") == "begin" and third.version == 10
    # A failure before its first commit costs the others nothing.
    assert checkpoint(tmp_path, 0, 1, of=3).init_variable("x") == 10
    assert checkpoint(tmp_path, 1, 1, of=3, incarnation=0).init_variable("x") == 10
    third._client.faults = 1
    assert third.init_variable("x", "begin") == "begin" and third.version == 10
    for worker, value in ((0, 11), (1, 11), (2, "third")):
        one = third if worker == 2 else checkpoint(tmp_path, worker, 1, of=3, incarnation=1 - worker)
        one.init_variable("x")
        one.update_variable("x", value)
        assert one.commit() == 11
    again = checkpoint(tmp_path, 2, 2, of=3)
    assert again.init_variable("x") == "third" and again.version == 11


def test_one_that_has_left_holds_nobody_back(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path, 0), *range(1, 21))
    committed(checkpoint(tmp_path, 1), *range(1, 4))
    alone = checkpoint(tmp_path, 0, 1, of=1)
    assert alone.init_variable("x") == 20
    committed(alone, 21)
    # It comes again, as another: nothing of the one that left is its own.
    again = checkpoint(tmp_path, 1, 1, of=2, is_new=True)
    assert again.init_variable("x", "begin") == "begin" and again.version == 21
    # A job that goes on with this one looks at those that there were last.
    second = checkpoint(tmp_path, 0, job="me-job-2", earlier=["me-job-1"])
    assert second.init_variable("x") == 21
    assert checkpoint(tmp_path, 1, job="me-job-2", earlier=["me-job-1"]).init_variable("x", 0) == 0


class _Stopped(BaseException):
    """The process is gone."""


def test_a_crash_at_any_byte_leaves_the_last_complete_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call to the system that the commit makes is the last one once; writes stop in their middle, too."""
    real = {name: getattr(os, name) for name in ("write", "fsync", "replace", "open")}
    value = np.arange(1000)
    crashes = 0
    for limit in range(1, 200):
        root = tmp_path / str(limit)
        one = committed(checkpoint(root), "first")
        one.update_variable("x", value)
        calls = 0

        def stopping(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == limit:  # noqa: B023
                    if name == "write" and limit % 2:  # noqa: B023
                        real[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    raise _Stopped
                return real[name](*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, stopping(name))
            try:
                one.commit()
                done = True
            except _Stopped:
                done = False
                crashes += 1
        after = checkpoint(root, faults=1).init_variable("x")
        if done:
            assert (after == value).all()
            break
        assert isinstance(after, str) or (after == value).all()
    assert crashes > 6 and done


def test_a_disk_that_is_full_keeps_the_last_version_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = committed(checkpoint(tmp_path), "first")
    one.update_variable("x", bytes(1000))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(CheckpointError, match="No space left on device; version 1 stays the last one"):
            one.commit()
    assert not [path for path in tmp_path.rglob("*part*")]
    assert one.commit() == 2, "there is room again"
    assert checkpoint(tmp_path, faults=1).init_variable("x") == bytes(1000)


def test_damage_is_found(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path), np.arange(100))
    (data,) = tmp_path.rglob("v00000001-0.data")
    content = bytearray(data.read_bytes())
    content[-5] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint(tmp_path, faults=1).init_variable("x")
    data.write_bytes(content[:-20])
    with pytest.raises(CheckpointError, match="not whole"):
        checkpoint(tmp_path, faults=1).init_variable("x")


def test_what_cannot_be() -> None:
    with pytest.raises(CheckpointError, match="persistent_volume"):
        checkpoint("").init_variable("x")
    with pytest.raises(CheckpointError, match="init_variable first"):
        checkpoint("/nowhere").update_variable("x", 1)
    with pytest.raises(CheckpointError, match="init_variable first"):
        checkpoint("/nowhere").commit()
    with pytest.raises(CheckpointError, match="cannot be reached"):
        checkpoint("/proc/nowhere").init_variable("x")
    with pytest.raises(CheckpointError, match="cannot be used"):
        checkpoint("nosuchprotocol://x").init_variable("x")


def test_what_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    one = committed(checkpoint(tmp_path), 1)
    one.update_variable("x", time.sleep)
    one.init_variable("lock", None)
    one.update_variable("lock", (number for number in range(3)))
    with pytest.raises(CheckpointError, match="'lock' cannot be pickled"):
        one.commit()


def test_files_are_the_users_alone(tmp_path: Path) -> None:
    committed(checkpoint(tmp_path), 1)
    for path in (tmp_path / "me-job-1").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_address_of_fsspec_does_as_well(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    root = f"file://{tmp_path}"
    committed(checkpoint(root, 0), "a1", "a2")
    committed(checkpoint(root, 1), np.arange(3))
    assert checkpoint(root, 0, faults=1).init_variable("x") == "a1"
    assert checkpoint(root, 1, faults=1).init_variable("x").tolist() == [0, 1, 2]


def test_an_object_store_is_seen_as_it_is_now() -> None:
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class ObjectStore(MemoryFileSystem):  # type: ignore[misc]
        """Objects without folders, listings that are remembered, and no object before its PUT is over."""

        protocol = "t2store"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        listed: ClassVar[dict[str, Any]] = {}

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            pass

        def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
            if path not in self.listed:
                self.listed[path] = super().ls(path, detail=False)
            return self.listed[path]

        def invalidate_cache(self, path: str | None = None) -> None:
            self.listed.clear()

        def open(self, path: str, mode: str = "rb", **more: Any) -> Any:
            assert mode in ("rb", "wb"), "an object cannot be changed"
            return super().open(path, mode, **more)

    fsspec.register_implementation("t2store", ObjectStore, clobber=True)
    for root in ("memory://t2-tests", "t2store://bucket/t2"):
        committed(checkpoint(root, 0), "a1", "a2")
        committed(checkpoint(root, 1), np.arange(3))
        assert checkpoint(root, 0, faults=1).init_variable("x") == "a1"
        assert checkpoint(root, 1, faults=1).init_variable("x").tolist() == [0, 1, 2]
        committed(checkpoint(root, 1, faults=1), *range(12))
        files = files_at(root)
        files.create("a/b", b"1")
        files.create("a/b", b"2")
        assert files.read("a/b") == b"1"
        assert files.names("a") == ["b"] and files.names("none") == []
        files.remove("a/b")
        files.remove("a/b")
        with pytest.raises(FileNotFoundError):
            files.read("a/b")


def test_of_several_who_decide_one_wins(tmp_path: Path) -> None:
    files: Files = LocalFiles(str(tmp_path))
    for number in range(5):
        files.create("a/decision", str(number).encode())
    assert files.read("a/decision") == b"0"
    assert files.names("a") == ["decision"]


def test_large_values_are_written_from_where_they_lie() -> None:
    class Watching:
        def __init__(self) -> None:
            self.pieces: list[Piece] = []

        def write(self, path: str, pieces: Sequence[Piece], written: Any = None) -> None:
            self.pieces += pieces

    array = np.random.default_rng(random.randrange(100)).random(1000)
    files = Watching()
    Snapshots(files, "x").save(1, {"array": array})  # type: ignore[arg-type]
    addresses = [np.frombuffer(piece, "u1").ctypes.data for piece in files.pieces if len(piece)]
    assert array.ctypes.data in addresses


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5, CHUNK + BLOCK + 7])
def test_checksums_are_the_same_with_numpy_and_without_and_in_any_chunks(size: int) -> None:
    data = memoryview(np.random.default_rng(size).bytes(size))
    add = checksums.of_kind(checksums.BLOCKS)
    whole = add(data, 0)
    assert checksums._without_numpy(data, 0) == whole
    found = 0
    for begin in range(0, size, 2 * BLOCK):
        found = add(data[begin : begin + 2 * BLOCK], found)
    assert found == whole


def test_checksums_find_what_disks_do() -> None:
    for kind in (checksums.CRC, checksums.BLOCKS):
        add = checksums.of_kind(kind)
        data = bytearray(np.random.default_rng(1).bytes(4 * BLOCK + 100))
        right = add(memoryview(data), 0)
        for at in (0, BLOCK + 17, len(data) - 1):
            data[at] ^= 0x10
            assert add(memoryview(data), 0) != right
            data[at] ^= 0x10
        zeroed = data[:BLOCK] + bytes(BLOCK) + data[2 * BLOCK :]
        swapped = data[BLOCK : 2 * BLOCK] + data[:BLOCK] + data[2 * BLOCK :]
        for wrong in (zeroed, swapped, data[:-1]):
            assert add(memoryview(wrong), 0) != right
    with pytest.raises(ValueError, match="of kind 'md5'"):
        checksums.of_kind("md5")


def test_checkpoints_that_have_other_checksums_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "choose", lambda: checksums.CRC)
    committed(checkpoint(tmp_path, 0), np.arange(10))
    manifest = next(tmp_path.rglob("v00000001-*.json"))
    assert '"sums": "crc32"' in manifest.read_text()
    manifest.write_text(manifest.read_text().replace('"sums": "crc32", ', ""))  # as they were written before
    assert checkpoint(tmp_path, 0).init_variable("x").tolist() == list(range(10))
    manifest.write_text(manifest.read_text().replace('"format"', '"sums": "md5", "format"'))
    with pytest.raises(CheckpointError, match="another t2notebook wrote it"):
        checkpoint(tmp_path, 0).init_variable("x")

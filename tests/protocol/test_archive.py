from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2notebook.protocol.archive import Archive, ArchiveError, dump, unpickle, write
from t2notebook.protocol.pickling import Pickler
from tests.worker.fakes import pickler

NAMES = st.text("abc/._ü", min_size=1, max_size=150).filter(
    lambda name: name.strip("/.") == name and "//" not in name and name != "manifest.json"
)
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5)


def pack(members: list[tuple[str, Any]], **facts: Any) -> tuple[bytes, str]:
    target = io.BytesIO()
    digest = write(target, members, facts)
    return target.getvalue(), digest


@given(MEMBERS)
def test_round_trip(members: dict[str, bytes]) -> None:
    data, digest = pack(list(members.items()), kind="test")
    archive = Archive(data)
    archive.verify(digest)
    assert archive.digest == digest
    assert archive.manifest["kind"] == "test"
    assert {name: bytes(archive.member(name)) for name in list(archive)[1:]} == members


def test_members_that_are_left_in_a_cycle_go_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.14 tells of a BytesIO that is collected together with a view of it."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    cycle: list[Any] = [dump({"x": list(range(1000))}, pickler)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert told == []


@given(MEMBERS)
def test_the_same_content_gives_the_same_bytes(members: dict[str, bytes]) -> None:
    assert pack(list(members.items())) == pack(list(members.items()))


@settings(max_examples=300)
@given(MEMBERS, st.integers(0, 100_000), st.integers(1, 255))
def test_no_changed_byte_of_a_member_goes_unseen(members: dict[str, bytes], place: int, flip: int) -> None:
    data, digest = pack(list(members.items()))
    damaged = bytearray(data)
    damaged[place % len(data)] ^= flip
    try:
        archive = Archive(damaged)
        archive.verify(digest)
    except ArchiveError:
        return
    # What was hit is padding or an unimportant header field.
    assert {name: bytes(archive.member(name)) for name in list(archive)[1:]} == members


@given(MEMBERS, st.integers(0, 100_000))
def test_a_cut_archive_does_not_verify(members: dict[str, bytes], place: int) -> None:
    data, digest = pack([*members.items(), ("last", b"x" * 10)])
    body = len(data.rstrip(b"\0"))
    with pytest.raises(ArchiveError):
        Archive(data[: place % body]).verify(digest)


def test_arrays_lie_where_they_are(tmp_path: Path) -> None:
    value = {"a": np.arange(1000.0), "b": [np.ones((3, 4), order="F"), np.empty(0)], "c": np.eye(4)[:, ::2]}
    path = tmp_path / "archive"
    with path.open("wb") as file:
        digest = write(file, dump(value, pickler), {})
    archive = Archive.open(path)
    archive.verify(digest)
    back = archive.load()
    assert (back["a"] == value["a"]).all() and (back["b"][0] == 1).all() and (back["c"] == value["c"]).all()
    assert back["b"][1].shape == (0,)
    back["a"][0] = -1  # the map is private
    assert Archive.open(path).load()["a"][0] == 0
    place = archive.member("buffers/000000")
    assert np.shares_memory(np.frombuffer(place), back["a"])


def notebook(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace


def dumps(value: Any) -> bytes:
    target = io.BytesIO()
    Pickler(target, protocol=5).dump(value)
    return target.getvalue()


def load(pickled: bytes, main: dict[str, Any] | None = None) -> Any:
    return unpickle(pickled, [], main)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("class A: v = 1", "A()"),
        ("import abc\nclass A(abc.ABC): v = 1", "A()"),
        ("import enum\nclass A(enum.Enum):\n  ONE = 1\n  v = enum.nonmember(1)", "A.ONE"),
        ("class A: v = 1", "[A]"),
    ],
)
def test_loading_leaves_the_classes_alone_that_are_here(source: str, value: str) -> None:
    """A pickle finds a class that the notebook sent away, as it was then; the notebook has gone on since."""
    names = notebook(source)
    pickled = dumps(eval(value, names))
    names["A"].v = 77
    names["A"].more = "new"
    back = load(pickled)
    kind = back[0] if isinstance(back, list) else type(back)
    assert kind is names["A"] and (kind.v, kind.more) == (77, "new")


def test_classes_that_are_not_here_are_made_whole() -> None:
    script = (
        "import sys\nfrom tests.protocol.test_archive import dumps\nclass B:\n  v = 1\n  def get(self): return self.v\n"
        "sys.stdout.buffer.write(dumps([B(), B()]))"
    )
    root = Path(__file__).parents[2]
    pickled = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=root).stdout
    first, second = load(pickled)
    assert first.get() == second.get() == 1
    type(first).v = 5
    again, _ = load(pickled)
    assert type(again) is type(first) and again.get() == 5


def test_functions_of_the_notebook_get_the_globals_of_main() -> None:
    names = notebook("def f(): return g()\ndef g(): return x\nx = 3")
    main: dict[str, Any] = {"__name__": "__main__"}
    back = load(dumps(names["f"]), main)
    assert back() == 3 and back.__globals__ is main and main["g"].__globals__ is main
    assert load(dumps(names["f"])).__globals__ not in (main, names)


def test_a_reader_of_archives_needs_no_cloudpickle() -> None:
    script = (
        "import pickle, sys\nfrom t2notebook.protocol import archive\n"
        "archive.unpickle(pickle.dumps([1]), [])\nassert 'cloudpickle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("data", [b"", b"x", b"abc" * 700, bytes(5000)])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        Archive(data)
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ArchiveError):
        Archive.open(path)
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(ArchiveError):
        Archive.open(descriptor)
    os.close(descriptor)


def test_another_format_is_named() -> None:
    data, _ = pack([])
    with pytest.raises(ArchiveError, match="format 9"):
        Archive(data.replace(b'"format":1', b'"format":9'))


def test_the_manifest_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.t2"
    with path.open("wb") as file:
        write(file, [("one", b"1")], {"kind": "result", "ok": True})
    assert Archive.read_manifest(path) == Archive.open(path).manifest
    whole = path.read_bytes()
    for bad in (
        b"",
        b"x" * 2000,
        whole[:600],
        whole.replace(b"manifest.json", b"mani_est.json"),
        bytes(2000),
    ):
        path.write_bytes(bad)
        with pytest.raises(ArchiveError):
            Archive.read_manifest(path)

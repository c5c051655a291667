"""Data files that a job takes along: every wrong name is said in one line, and nothing else is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from t2notebook.model.errors import SubmitError
from t2notebook.package.files import data_files, named_here, walk


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    directory = tmp_path / "notebooks"
    for name in (
        "data.csv",
        "img/a.png",
        "img/b.png",
        "img/deep/c.png",
        "img/.hidden",
        "img/__pycache__/x.pyc",
        "odd [1].txt",
        ".env",
        "stdout",
        "result.t2",
        "tmp/x",
    ):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (directory / "run.sh").write_text("#!/bin/sh\n")
    (directory / "run.sh").chmod(0o755)
    (directory / "empty").mkdir()
    (tmp_path / "outside.csv").write_text("outside")
    return directory


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["data.csv"], ["data.csv"]),
        ("data.csv", ["data.csv"]),
        (Path("data.csv"), ["data.csv"]),
        (["./data.csv", "data.csv", "img/../data.csv"], ["data.csv"]),
        (["img"], ["img/a.png", "img/b.png", "img/deep/c.png"]),
        (["img/"], ["img/a.png", "img/b.png", "img/deep/c.png"]),
        (["img/*.png"], ["img/a.png", "img/b.png"]),
        (["**/*.png"], ["img/a.png", "img/b.png", "img/deep/c.png"]),
        (["odd [1].txt"], ["odd [1].txt"]),
        ([".env", "run.sh"], [".env", "run.sh"]),
        ([], []),
    ],
)
def test_files_folders_and_globs(beside: Path, patterns: list[str], names: list[str]) -> None:
    assert [each.name for each in data_files(patterns, [beside])] == names


def test_sizes_and_rights(beside: Path) -> None:
    script, data = sorted(
        data_files(["run.sh", "data.csv"], [beside]), key=lambda each: each.size, reverse=True
    )
    assert (script.size, script.is_executable, script.read()) == (10, True, b"#!/bin/sh\n")
    assert (data.size, data.is_executable) == (8, False)


def test_the_current_directory_comes_before_the_notebooks(beside: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "data.csv").write_text("from here")
    (table, _) = data_files(["data.csv", "img/a.png"], [here, beside])
    assert table.read() == b"from here"


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("nope.csv", "nope.csv: there is no such file in {beside}"),
        ("*.parquet", "*.parquet: there is no such file in {beside}"),
        ("empty", "empty: there is no file in it"),
        (
            "../outside.csv",
            "../outside.csv: it lies outside of the notebook's folder; put it, or a link to it, beside",
        ),
        ("img/../../outside.csv", "img/../../outside.csv: it lies outside of the notebook's folder"),
        (
            "/etc/hostname",
            "/etc/hostname: an absolute path; put the file beside the notebook, or read it where",
        ),
        (
            "{beside}/data.csv",
            "{beside}/data.csv: give the path relative to the notebook, data.csv, as workers",
        ),
        ("", "'': that is no path"),
        ("a\0b", "'a\\x00b': that is no path"),
        ("stdout", "stdout: workers have a stdout of their own there; give it another name"),
        ("result.t2", "result.t2: workers have a result.t2 of their own there"),
        ("tmp", "tmp/x: workers have a tmp of their own there"),
        ("broken", "broken: No such file or directory"),
        ("pipe", "pipe: it is no regular file"),
    ],
)
def test_what_cannot_be_taken_along_is_one_line(beside: Path, pattern: str, told: str) -> None:
    (beside / "broken").symlink_to("nowhere")
    os.mkfifo(beside / "pipe")
    with pytest.raises(SubmitError) as caught:
        data_files([pattern.format(beside=beside)], [beside])
    assert str(caught.value).startswith(f"cannot take along {told.format(beside=beside)}")
    assert "\n" not in str(caught.value)


def test_every_wrong_name_is_told_at_once(beside: Path) -> None:
    with pytest.raises(SubmitError) as caught:
        data_files(["nope", "data.csv", "../outside.csv", "stdout"], [beside])
    assert [part.partition(":")[0] for part in str(caught.value).split("; ") if ": " in part] == [
        "cannot take along nope",
        "../outside.csv",
        "stdout",
    ]


def test_a_file_where_another_needs_a_folder(beside: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "img").write_text("a file")
    with pytest.raises(SubmitError, match=r"img/a.png: img is a file, from .*/here/img$"):
        data_files(["img", "img/a.png"], [here, beside])


def test_files_that_a_worker_cannot_hold_are_refused_with_the_largest(beside: Path) -> None:
    with open(beside / "big.bin", "wb") as file:
        file.truncate(600 << 20)
    with pytest.raises(SubmitError) as caught:
        data_files(["big.bin", "data.csv"], [beside], limit=512 << 20)
    assert str(caught.value) == (
        "the files have 600.0 MiB (big.bin 600.0 MiB, data.csv 8 bytes), more than the 512.0 MiB of memory of a "
        "worker, which holds them while it starts: ask for more (--ram), or read them on the workers"
    )


def test_links_are_followed_but_not_in_circles(beside: Path, tmp_path: Path) -> None:
    (beside / "img" / "link.csv").symlink_to(tmp_path / "outside.csv")
    (beside / "img" / "circle").symlink_to(beside / "img")
    found = {each.name: each for each in walk(beside / "img")}
    assert set(found) == {"a.png", "b.png", "deep/c.png", "link.csv"}
    assert found["link.csv"].read() == b"outside"


def test_what_code_names_is_known_if_it_is_there(beside: Path) -> None:
    texts = {
        "data.csv",
        "img/part-",
        "img/deep/c.png",
        "nothing.csv",
        "..",
        ".",
        "/etc",
        ".env",
        str(beside / "run.sh"),
    }
    assert named_here(texts, [beside]) == ("data.csv", "img", "img/deep/c.png", "run.sh")
    assert named_here(texts, [beside / "gone"]) == ()

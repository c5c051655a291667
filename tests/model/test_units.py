from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from t2notebook import ComputeResource, SubmitError
from t2notebook.model.units import mebibytes_of


@pytest.mark.parametrize(
    ("value", "mebibytes"),
    [
        (64, 64.0),
        (0.5, 0.5),
        ("64", 64.0),
        ("1GB", 1024.0),
        ("1gb", 1024.0),
        ("1 GiB", 1024.0),
        ("1.5G", 1536.0),
        (".5g", 512.0),
        ("512M", 512.0),
        ("512MB", 512.0),
        ("1024 KB", 1.0),
        ("2TB", 2097152.0),
    ],
)
def test_memory_with_and_without_a_unit(value: float | str, mebibytes: float) -> None:
    assert mebibytes_of(value) == mebibytes
    assert ComputeResource(ram=value).ram_mega_bytes == mebibytes


@pytest.mark.parametrize(
    "value", ["", "GB", "1 XB", "-1GB", "1e3", "1,5GB", True, math.nan, math.inf, [], b"1GB"]
)
def test_memory_that_cannot_be_read(value: object) -> None:
    text = f"ram is {value!r}; give a number of MiB, or a text with a unit such as '1GB'"
    with pytest.raises(SubmitError, match=f"^{re.escape(text)}$"):
        mebibytes_of(value)


def test_each_resource_has_two_spellings_of_which_one_is_given() -> None:
    assert ComputeResource(cpus=2, ram="1GB") == ComputeResource(cpu=2, ram_mega_bytes=1024)
    assert ComputeResource(cpu=2, cpus=2) == ComputeResource(cpu=2)
    with pytest.raises(SubmitError, match=r"^cpu is 2 and cpus is 3; they mean the same, so give one$"):
        ComputeResource(cpu=2, cpus=3)
    with pytest.raises(SubmitError, match=r"^ram_mega_bytes is 64 and ram is 1024\.0; they mean the same"):
        ComputeResource(ram_mega_bytes=64, ram="1GB")
    with pytest.raises(SubmitError, match=r"^ram_mega_bytes is 0; a worker needs more than 0"):
        ComputeResource(ram=0)
    assert replace(ComputeResource(cpus=2, ram="1GB"), instances=3) == ComputeResource(2, 1024, instances=3)

"""The picture of the architecture and CONTRIBUTING's list say what the table of layers says."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tests.architecture import PARTS, PICTURE, draw
from tests.test_layers import ASIDE, ROWS

#: Too small for a line of their own in CONTRIBUTING.
SMALL = {"__main__", "_version", "_vendor"}


def test_every_part_has_a_process_and_an_idea() -> None:
    assert set(PARTS) == {name for row in ROWS for name in row} | set(ASIDE)


def test_the_picture_is_drawn_from_the_table() -> None:
    assert PICTURE.read_text() == draw(), "write it anew: python -m tests.architecture"


def test_the_picture_is_well_formed_and_within_its_frame() -> None:
    root = ElementTree.fromstring(draw())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [one.attrib for one in root.iter() if one.tag.endswith("rect")]
    assert len(boxes) > len(PARTS)
    for box in boxes:
        assert float(box.get("x", 0)) + float(box["width"]) <= width
        assert float(box.get("y", 0)) + float(box["height"]) <= height


def test_contributing_lists_the_parts_in_the_tables_order() -> None:
    text = (PICTURE.parents[1] / "CONTRIBUTING.md").read_text().partition("## Layers")[2]
    listed = [
        name
        for line in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", line)
    ]
    expected = [name for row in ROWS for name in row if name not in SMALL]
    assert listed == [*expected, *(name for name in ASIDE if name not in SMALL)]

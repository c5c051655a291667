"""Messages as text: protobuf's `debug_text`."""

from __future__ import annotations

from t2notebook.localmesos.v1 import text_format


def test_text_format() -> None:
    """Fields by number, shortest numbers, defaults of enums left out (`debug_text`)."""
    info = {
        "type": "CUSTOM",
        "executor_id": {"value": 'a"b'},
        "command": {
            "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "1"}]},
            "shell": True,
            "value": "x",
        },
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
        "data": "ZGF0YQ==",
    }
    lines = text_format.text("ExecutorInfo", info).splitlines()
    assert [line for line in lines if not line.startswith((" ", "}"))] == [
        "executor_id {",
        'data: "data"',
        "resources {",
        "command {",
        "type: CUSTOM",
    ]
    assert lines[1] == '  value: "a\\"b"'
    assert "    value: 0.1" in lines
    assert not [line for line in lines if "VALUE" in line]
    for number, shown in ((32.0, "32"), (float("inf"), "inf"), (1e300, "1e+300"), (0.5, "0.5")):
        assert text_format.text("Scalar", {"value": number}) == f"value: {shown}\n"

"""The live view of a job as an anywidget: one trait with the newest snapshot, one message back: kill."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from ..snapshot import COLUMNS, NUMERIC

_HERE = files(__package__)


class JobWidget(anywidget.AnyWidget):
    """Shows what `t2notebook.notebook.snapshot.snapshot` returns.

    Only the publisher's thread may set `snapshot` after the widget was made. `on_kill` is called without
    arguments, on whatever thread the kernel takes a click, and must return at once.
    """

    # as text: given a path, anywidget would watch the file
    _esm = (_HERE / "job_view.js").read_text(encoding="utf-8")
    _css = (_HERE / "job_view.css").read_text(encoding="utf-8")

    snapshot = traitlets.Dict().tag(sync=True)
    columns: Any = traitlets.List().tag(sync=True)

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.on_kill: Callable[[], None] = lambda: None
        columns = [{"key": key, "heading": heading, "numeric": key in NUMERIC} for key, heading in COLUMNS]
        super().__init__(snapshot=snapshot, columns=columns)
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and content.get("kind") == "kill":
            self.on_kill()

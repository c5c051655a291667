"""The live view of a job as an anywidget: traits with what is so now; back come a kill, the log to open, and whether
anybody sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from ...views.modules import bundled, text_of


class JobWidget(anywidget.AnyWidget):
    """Shows the parts that `t2notebook.views.live_record.live_record` returns, and the workers' newest lines.

    Only the publisher's thread may set a trait after the widget was made. The callbacks are called on whatever
    thread the kernel takes a message, and must return at once.

    Parameters
    ----------
    parts : mapping
    beside : str
        The class of the HTML that the view hides as long as it lives.
    kernel_id : str
        By which the view asks the Jupyter server whether the kernel still exists; empty if that is not known.

    Attributes
    ----------
    on_kill : callable
        Called without arguments.
    on_open : callable
        Called with the id of the worker whose log is to be followed, or None.
    on_why : callable
        Called when somebody asks why the job waits.
    on_show : callable
        Called with whether the view can be seen.
    """

    # as text: given a path, anywidget would watch the file
    _esm = bundled("job_view.js")
    _css = text_of("job_view.css")

    snapshot = traitlets.Dict().tag(sync=True)
    table = traitlets.Dict().tag(sync=True)
    grid = traitlets.Dict().tag(sync=True)
    agents: Any = traitlets.List().tag(sync=True)
    output: Any = traitlets.Dict().tag(sync=True)
    why: Any = traitlets.Dict().tag(sync=True)
    log: Any = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int().tag(sync=True)
    beside = traitlets.Unicode().tag(sync=True)
    kernel_id = traitlets.Unicode().tag(sync=True)

    def __init__(self, parts: Mapping[str, Any], beside: str = "", kernel_id: str = "") -> None:
        self.on_kill: Callable[[], None] = lambda: None
        self.on_open: Callable[[int | None], None] = lambda worker_id: None
        self.on_why: Callable[[], None] = lambda: None
        self.on_show: Callable[[bool], None] = lambda is_shown: None
        super().__init__(**parts, beside=beside, kernel_id=kernel_id)
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        if content.get("kind") == "kill":
            self.on_kill()
        elif content.get("kind") == "open":
            worker_id = content.get("worker_id")
            self.on_open(worker_id if isinstance(worker_id, int) and worker_id >= 0 else None)
        elif content.get("kind") == "why":
            self.on_why()
        elif content.get("kind") == "show":
            self.on_show(bool(content.get("is_shown")))

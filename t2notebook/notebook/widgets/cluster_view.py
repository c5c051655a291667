"""The view of a cluster as an anywidget: one trait with all that it shows; back comes whether anybody sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from ...views.modules import bundled, text_of


class ClusterWidget(anywidget.AnyWidget):
    """Shows what `t2notebook.mesos.cluster_page.read_page` returns.

    Only the feeder's thread may set a trait after it was made.

    Parameters
    ----------
    state : dict
        ``page``, and ``trouble``: why it may be out of date.
    beside : str
        The class of the HTML that the view hides as long as it lives.

    Attributes
    ----------
    on_show : callable
        Called with whether the view can be seen, on whatever thread the kernel takes a message.
    """

    # as text: given a path, anywidget would watch the file
    _esm = bundled("cluster_view.js")
    _css = text_of("resource_form.css") + text_of("cluster_view.css")

    state: Any = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int().tag(sync=True)
    beside = traitlets.Unicode().tag(sync=True)

    def __init__(self, state: dict[str, Any], beside: str = "") -> None:
        self.on_show: Callable[[bool], None] = lambda is_shown: None
        super().__init__(state=state, beside=beside)
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and content.get("kind") == "show":
            self.on_show(bool(content.get("is_shown")))

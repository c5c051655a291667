"""The resource form as an anywidget: one trait with all that it shows; back come what is chosen, a submit, and whether
anybody sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from ...views.modules import bundled, text_of


class FormWidget(anywidget.AnyWidget):
    """Shows what `t2notebook.notebook.forms.form.FormView` makes of the cluster's answer.

    Only the feeder's thread may set a trait after it was made. The callbacks are called on whatever thread the kernel
    takes a message.

    Parameters
    ----------
    state : dict
    beside : str
        The class of the HTML that the form hides as long as it lives.

    Attributes
    ----------
    on_change : callable
        Called with the chosen values and the page's number of them.
    on_submit : callable
        Called without arguments.
    on_show : callable
        Called with whether the form can be seen.
    """

    # as text: given a path, anywidget would watch the file
    _esm = bundled("resource_form.js")
    _css = text_of("resource_form.css")

    state: Any = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int().tag(sync=True)
    beside = traitlets.Unicode().tag(sync=True)

    def __init__(self, state: dict[str, Any], beside: str = "") -> None:
        self.on_change: Callable[[dict[str, Any], int], None] = lambda values, sequence: None
        self.on_submit: Callable[[], None] = lambda: None
        self.on_show: Callable[[bool], None] = lambda is_shown: None
        super().__init__(state=state, beside=beside)
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        kind, values = content.get("kind"), content.get("values")
        if kind == "change" and isinstance(values, dict):
            self.on_change(values, int(content.get("sequence") or 0))
        elif kind == "submit":
            self.on_submit()
        elif kind == "show":
            self.on_show(bool(content.get("is_shown")))

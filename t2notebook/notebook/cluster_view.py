"""The cluster in the notebook: what the master's page shows, live while somebody sees it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from html import escape
from typing import Any

from ..model.errors import Twister2Error
from ..views.snapshot import clock, day, mebibytes, zone
from .magics.targets import the_client
from .output import OutputContext, kernel_shell
from .rendering.text import align

log = logging.getLogger(__name__)

WIDGET = "application/vnd.jupyter.widget-view+json"
#: For our extension of JupyterLab, which shows what the Jupyter server knows where the widget does not come.
CLUSTER = "application/vnd.t2notebook.cluster+json"
#: Seconds between two writes of the text below a live view.
KEPT_INTERVAL = 10.0
#: Tasks and agents that are listed as text.
SHOWN = 20
_PARTS = ("total", "allocated", "offered", "idle")
#: A view whose kernel is gone leaves an error in JupyterLab; what stands below it takes its place.
_COVERS = (
    "<style>.jp-OutputArea-child:not(:has(.t2-cluster)):has(+.jp-OutputArea-child .t2-clusterkept)"
    "{display:none}</style>"
)


def show_cluster(ip: Any) -> bool:
    """Show the cluster in the output of the cell that runs now; return whether there is one that tells of itself.

    In a kernel that is a live view, as text where widgets cannot be imported.
    """
    try:
        page = the_client().cluster_page()
    except Twister2Error as error:
        log.info("%s", error)
        return False
    if not page:
        return False
    try:
        from .widgets.cluster_view import ClusterWidget
    except ImportError as error:
        log.info("no widgets: %s", error)
        ClusterWidget = None  # type: ignore[assignment,misc]
    if kernel_shell() is None or ClusterWidget is None:
        print(page_text(page))
        return True
    from .feeder import feeder

    name = f"t2-{uuid.uuid4().hex[:12]}"
    view = ClusterView(ip, ClusterWidget({"page": page, "trouble": ""}, name), name)
    model = {"version_major": 2, "version_minor": 0, "model_id": view.widget.model_id}
    # Not as it is configured, which may hold a password, and stays in the notebook.
    master = "local" if the_client().get_config().master == "local" else page["master"]
    ip.display_pub.publish({WIDGET: model, CLUSTER: {"master": master, "beside": name}})
    ip.display_pub.publish(kept(page, name), transient={"display_id": name})
    feeder.follow(view)
    return True


class ClusterView:
    """A view of the cluster in one output; the feeder's thread is the only one that writes to it."""

    def __init__(self, ip: Any, widget: Any, name: str) -> None:
        self.widget = widget
        self.is_shown = True
        self._name = name
        self._place = OutputContext(ip)
        #: What was kept last, and when; the first page may be older than the agents, so the next one takes its place.
        self._kept = (widget.state["page"], -KEPT_INTERVAL)
        widget.on_show = self._on_show

    def refresh(self) -> None:
        """Ask the master, and write what has changed; on the feeder's thread only."""
        last = self.widget.state["page"]
        try:
            page = the_client().cluster_page()
            state = {"page": page or last, "trouble": "" if page else "no cluster runs any more"}
        except Twister2Error as error:
            state = {"page": last, "trouble": str(error)}
        self._place.run(self._write, state)

    def _write(self, state: dict[str, Any]) -> None:
        self.widget.beat += 1
        if state != self.widget.state:
            self.widget.state = state
        page, at = self._kept
        now = time.monotonic()
        if state["page"] != page and now - at >= KEPT_INTERVAL:
            self._kept = (state["page"], now)
            self._place.update(kept(state["page"], self._name), self._name)

    def _on_show(self, is_shown: bool) -> None:
        from .feeder import feeder

        self.is_shown = is_shown
        feeder.hurry(self)


def kept(page: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a master's page as a saved notebook keeps it, by MIME type; `name` is the class by which it is hidden."""
    now = time.time()
    head = (
        f"Not live: as of {day(now)} {clock(now)} {zone(now)}. %twister2 cluster, or this cell again, shows how it is "
        "now.\n\n"
    )
    text = head + page_text(page)
    html = f'{_COVERS}<pre class="t2-static t2-clusterkept {name}">{escape(text)}</pre>'
    return {"text/plain": text, "text/html": html}


def page_text(page: Mapping[str, Any]) -> str:
    """Return a master's page as lines of text."""
    agents = page["agents"]
    facts = [f"{agents['active']} active"]
    facts += [f"{agents[name]} {name}" for name in ("inactive", "unreachable") if agents[name]]
    version = f", Mesos {page['version']}" if page["version"] else ""
    lines = [f"Master {page['master']}{version}: agents: {', '.join(facts)}"]
    counts = [f"{count:,} {state}" for state, count in page["tasks"].items() if count]
    lines += [f"tasks: {', '.join(counts) or 'none'}", ""]
    rows = [["", *_PARTS]]
    for one in page["resources"]:
        if one["total"]:
            rows.append([one["name"], *(amount(one["name"], one[part]) for part in _PARTS)])
    lines += align(rows, right=[False, *[True] * len(_PARTS)])
    for title in ("active", "unreachable", "completed"):
        if tasks := page[title]:
            lines += ["", f"{title} tasks:"]
            rows = [["task", "name", "role", "state", "started", "host"]]
            for one in tasks[:SHOWN]:
                started = clock(one["started"]) if one["started"] else ""
                rows.append([one["task"], one["name"], one["role"], one["state"], started, one["host"]])
            lines += align(rows)
            if len(tasks) > SHOWN:
                lines.append(f"... and {len(tasks) - SHOWN} more")
    return "\n".join(lines)


def amount(name: str, value: float) -> str:
    """Return an amount of a resource for people."""
    return mebibytes(round(value)) if name in ("mem", "disk") else f"{round(value, 1):g}"

"""``%load_ext t2notebook``: registers the magics, their completion, and how jobs and failures are shown.

Loading starts no thread and no process, and imports neither pandas nor ipywidgets. It says in a line or two what
other kernels have left running.
"""

from __future__ import annotations

from typing import Any

from .config_magic import T2Notebook
from .display import LateUpdates, display_job
from .errors import install, uninstall
from .magics import documentation, twister2
from .magics.completer import make_matcher
from .rendering.flame import flame_html
from .rendering.frames import install as install_frames
from .rendering.frames import uninstall as uninstall_frames
from .results import install as install_results
from .results import uninstall as uninstall_results
from .unfinished import say_what_runs

#: What one shell has registered, to be undone.
_ATTRIBUTE = "_t2notebook"


class _Registered:
    """The registrations with a shell."""

    def __init__(self, ip: Any) -> None:
        self.matcher = make_matcher(ip)
        self.late = LateUpdates(ip)
        self.settings = T2Notebook()


def allow_no_body(lines: list[str]) -> list[str]:
    """Give a cell that is only a ``%%twister2`` line an empty body: IPython refuses it before we can answer."""
    if len(lines) == 1 and lines[0].startswith("%%twister2"):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


# A terminal asks whether a cell is complete with the transforms that lack this: there a first line goes on.
allow_no_body.has_side_effects = True  # type: ignore[attr-defined]


def load_ipython_extension(ip: Any) -> None:
    """Register everything with the shell `ip`; doing so again changes nothing."""
    if getattr(ip, _ATTRIBUTE, None) is not None:
        return

    def magic(line: str, cell: str | None = None) -> Any:
        """Run Twister2 jobs on Apache Mesos; %twister2 --help shows the verbs."""
        return twister2(ip, line, cell)

    # IPython shows it for %%twister2?; made when somebody asks.
    magic.getdoc = documentation  # type: ignore[attr-defined]
    registered = _Registered(ip)
    setattr(ip, _ATTRIBUTE, registered)
    ip.register_magic_function(magic, "line_cell", "twister2")
    ip.Completer.custom_matchers.append(registered.matcher)
    ip.input_transformers_cleanup.append(allow_no_body)
    ip.configurables.append(registered.settings)
    install()
    install_results()
    if getattr(ip, "kernel", None) is not None:
        ip.display_formatter.ipython_display_formatter.for_type(_job_type(), display_job)
        ip.display_formatter.formatters["text/html"].for_type(_PROFILE, flame_html)
        install_frames(ip.display_formatter.formatters["text/html"])
        ip.events.register("pre_run_cell", registered.late.before_cell)
        ip.events.register("post_run_cell", registered.late.after_cell)
    say_what_runs()


def unload_ipython_extension(ip: Any) -> None:
    """Take everything away again; jobs and the views that are shown go on."""
    registered = getattr(ip, _ATTRIBUTE, None)
    if registered is None:
        return
    delattr(ip, _ATTRIBUTE)
    for kind in ("line", "cell"):
        ip.magics_manager.magics[kind].pop("twister2", None)
    ip.Completer.custom_matchers.remove(registered.matcher)
    ip.input_transformers_cleanup.remove(allow_no_body)
    ip.configurables.remove(registered.settings)
    uninstall()
    uninstall_results(ip)
    if getattr(ip, "kernel", None) is not None:
        ip.display_formatter.ipython_display_formatter.pop(_job_type(), None)
        ip.display_formatter.formatters["text/html"].pop(_PROFILE, None)
        uninstall_frames(ip.display_formatter.formatters["text/html"])
        ip.events.unregister("pre_run_cell", registered.late.before_cell)
        ip.events.unregister("post_run_cell", registered.late.after_cell)


#: The class of profiles by name, for the same reason.
_PROFILE = "t2notebook.client.profile.Profile"


def _job_type() -> str:
    """Return the handle's class by name, so that the client is imported only when it is needed."""
    return "t2notebook.client.job.Job"

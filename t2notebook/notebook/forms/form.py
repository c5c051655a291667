"""`ResourceForm`: sliders for a job's resources that know the cluster."""

from __future__ import annotations

import argparse
import logging
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ...model.errors import SessionError, SubmitError, Twister2Error
from ...model.units import mebibytes_of
from ...views.form_state import form_state
from ...views.resource_values import ResourceValues, line, others, replaced, split_where
from ..magics import cell_jobs, submission, submit_parser
from ..magics.parser import VerbParser
from ..output import OutputContext, kernel_shell
from .html import form_html
from .text import forecast_text, hint

if TYPE_CHECKING:
    from ..widgets.resource_form import FormWidget

log = logging.getLogger(__name__)

WIDGET = "application/vnd.jupyter.widget-view+json"
#: For our extension of JupyterLab, which has the Jupyter server feed the form where the widget does not come.
FORM = "application/vnd.t2notebook.form+json"
#: Seconds between two writes of what a saved notebook keeps.
KEPT_INTERVAL = 2.0
#: Seconds between two looks at what earlier jobs have used.
HINT_INTERVAL = 20.0
#: Seconds that a master has to be found, where an answer is waited for.
PATIENCE = 15.0


class ResourceForm:
    """Sliders and boxes for a job's workers, with what of them fits on the cluster now.

    As the last expression of a cell it is shown, and goes on to follow the cluster as long as somebody sees it. Its
    button submits the last ``%%twister2 submit`` cell of this notebook with the chosen numbers. Without ipywidgets
    it is text.

    What is not given is as in that cell, as with ``%twister2 resources``; before there is one: a worker with a cpu and
    512 MiB.

    Parameters
    ----------
    workers : int, optional
    cpus : float, optional
        Of each worker, as all that follow.
    ram : float or str, optional
        MiB, or a text such as ``"1GB"``.
    disk : float, optional
        GiB.
    gpus : int, optional
    workers_per_executor : int or "max", optional
    nodes : iterable of str, optional
        Hosts of agents that may be used; an empty one: any.
    where : str, optional
        Agents by their attributes: ``rack=r1,unique:hostname``.

    Raises
    ------
    SubmitError
        When there can be no such job.

    Examples
    --------
    >>> form = t2.ResourceForm(workers=4)
    >>> form
    >>> job = t2.submit(simulate, **form.options)
    """

    def __init__(
        self,
        workers: int | None = None,
        cpus: float | None = None,
        ram: float | str | None = None,
        disk: float | None = None,
        gpus: int | None = None,
        workers_per_executor: int | str | None = None,
        nodes: Iterable[str] | None = None,
        where: str | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "workers": workers,
            "cpus": cpus,
            "ram": None if ram is None else mebibytes_of(ram),
            "disk": disk,
            "gpus": gpus,
            "workers_per_executor": workers_per_executor,
            "nodes": None if nodes is None else tuple(nodes),
        }
        if where is not None:
            given["attributes"], given["more"] = split_where(where)
        last = cell_jobs.last_cell()
        begun = ResourceValues.of(_parser().parse([*last.words])) if last else ResourceValues()
        values = replace(begun, **{name: value for name, value in given.items() if value is not None})
        values.check()
        self._values = values
        self._cell: cell_jobs.SubmitCell | None = None
        self._views: list[FormView] = []

    @property
    def values(self) -> ResourceValues:
        """The values that are chosen now."""
        return self._values

    @values.setter
    def values(self, values: ResourceValues) -> None:
        values.check()
        self._values = values
        for view in self._views:
            view.mark()

    @property
    def options(self) -> dict[str, Any]:
        """The chosen values as keyword arguments of `t2.submit`."""
        return self._values.options()

    @property
    def line(self) -> str:
        """The first line of a cell that asks for the same."""
        cell = self.cell
        return line(replaced(cell.words if cell else (), self._values, _parser().takes_value))

    @property
    def cell(self) -> cell_jobs.SubmitCell | None:
        """The cell that a submit runs; None if none has been submitted yet."""
        return self._cell or cell_jobs.last_cell()

    def forecast(self) -> dict[str, Any]:
        """Return how many such workers fit, and where.

        Returns
        -------
        dict
            As `t2notebook.client.forecasts.forecast` says.

        Raises
        ------
        SessionError
            When the master does not say what it has.
        """
        return ask(self._values, PATIENCE)

    def submit(self) -> Any:
        """Submit the last ``%%twister2 submit`` cell with the chosen numbers, show its job, and print the line.

        Raises
        ------
        SubmitError
            When no cell has been submitted yet.
        """
        ip = _shell()
        cell = self.cell
        if ip is None or cell is None:
            raise SubmitError(
                "run a %%twister2 submit cell first: the form submits it again with its numbers"
            )
        words = replaced(cell.words, self._values, _parser().takes_value)
        arguments = _parser().parse(words)
        arguments.wait = False  # a click must not keep the kernel
        print(f"Submitted as: {line(words)}")
        again = cell_jobs.SubmitCell(words, cell.text, cell.key, cell.name)
        return submission.submit_cell(ip, arguments, again)

    def __repr__(self) -> str:
        return f"<ResourceForm: {self.line}>"

    def _ipython_display_(self) -> None:
        self.show()

    def show(self) -> None:
        """Show it in the output of the cell that runs now; as text where there are no widgets."""
        ip = kernel_shell()
        widget_type = _widget_type() if ip is not None else None
        if ip is None or widget_type is None:
            print(self.text())
            return
        name = f"t2-{uuid.uuid4().hex[:12]}"
        view = FormView(self, ip, widget_type, name)
        self._views.append(view)
        model = {"version_major": 2, "version_minor": 0, "model_id": view.widget.model_id}
        # As with a job's view: the second output is for whom there is no kernel, and hidden by the first.
        ip.display_pub.publish({WIDGET: model, FORM: self._published(name)})
        ip.display_pub.publish(view.kept(), transient={"display_id": name})
        view.begin()

    def _published(self, name: str) -> dict[str, Any]:
        """Return what the Jupyter server needs to feed the form while the kernel is silent."""
        from ...config import get_config

        config = get_config()
        words = self.cell.words if self.cell else ()
        return {
            "beside": name,
            # Not as it is configured, which may hold a password, and stays in the notebook.
            "master": "local" if config.master == "local" else f"session-{config.session_key}",
            "values": self._values.to_dict(),
            "others": others(words, _parser().takes_value),
        }

    def text(self) -> str:
        """Return what fits, what the agents have, and the line, as text."""
        try:
            told = forecast_text(self.forecast(), self._values)
        except SessionError as error:
            told = f"What the cluster has is not known: {error}"
        return f"{told}\n\n{self.line}"


class FormView:
    """A form in one output.

    The feeder's thread is the only one that writes to the widget; what a page sends is taken on any.
    """

    def __init__(self, form: ResourceForm, ip: Any, widget_type: type[FormWidget], name: str) -> None:
        self.form = form
        self.is_shown = True
        self.problem = self.notice = ""
        self._sequence = 0
        self._submits = 0  # so that a page hears of a click that changed nothing else
        self._hint: dict[str, Any] = {}
        self._looked = ("", 0.0)
        self._place, self._writing = OutputContext(ip), OutputContext(ip)
        self._name = name
        #: What a saved notebook keeps, and when it was written.
        self._kept = (form.line, time.monotonic())
        self.widget = widget_type(self._state(None, ""), name)
        self.widget.on_change = self._on_change
        self.widget.on_submit = self._on_submit
        self.widget.on_show = self._on_show

    def begin(self) -> None:
        """Follow the cluster from now on."""
        from ..feeder import feeder

        feeder.follow(self)

    def mark(self) -> None:
        """Say that it is out of date; returns at once."""
        from ..feeder import feeder

        feeder.hurry(self)

    def refresh(self) -> None:
        """Ask the cluster, and write what has changed; on the feeder's thread only."""
        sequence, values = self._sequence, self.form.values
        found, trouble = None, ""
        try:
            found = ask(values, 0.0)
        except Twister2Error as error:
            trouble = str(error)
        self._look_for_hint()
        state = self._state(found, trouble, values, sequence)
        self._writing.run(self._write, state)

    def _write(self, state: dict[str, Any]) -> None:
        self.widget.beat += 1
        if state != self.widget.state:
            self.widget.state = state
        line, at = self._kept
        if self.form.line != line and time.monotonic() - at >= KEPT_INTERVAL:
            self._kept = (self.form.line, time.monotonic())
            self._writing.update(self.kept(), self._name)

    def kept(self) -> dict[str, str]:
        """Return what a saved notebook keeps, and what is seen while there is no widget, by MIME type."""
        html = form_html(self.form.values, self.form.line, self._name, time.time())
        return {"text/html": html, "text/plain": repr(self.form)}

    def _state(
        self,
        found: dict[str, Any] | None,
        trouble: str,
        values: ResourceValues | None = None,
        sequence: int = 0,
    ) -> dict[str, Any]:
        values = values or self.form.values
        cell = self.form.cell
        own = {
            "cell": cell.name if cell else "",
            "problem": self.problem,
            "notice": self.notice,
            "hint": self._hint,
            "submits": self._submits,
        }
        return form_state(values, self.form.line, sequence, found=found, trouble=trouble) | own

    def _look_for_hint(self) -> None:
        """Read now and then what earlier jobs of this name have used."""
        cell = self.form.cell
        name, at = self._looked
        if cell is None or (cell.name == name and time.monotonic() - at < HINT_INTERVAL):
            return
        from ...client.forecasts import measured_advice

        try:
            self._hint = hint(measured_advice(cell.name))
        except Exception as error:  # a hint only
            log.info("what earlier jobs have used cannot be read: %s", error)
        self._looked = (cell.name, time.monotonic())

    def _on_change(self, record: dict[str, Any], sequence: int) -> None:
        self._sequence = sequence
        try:
            self.form._values = ResourceValues.read(record)
            self.problem = ""
        except (SubmitError, TypeError, ValueError) as error:
            self.problem = str(error)
        self.notice = ""
        self.mark()

    def _on_submit(self) -> None:
        self._submits += 1
        if self.problem:
            return
        self.notice = ""
        try:
            self._place.act(self.form.submit)
        except Exception as error:
            self.notice = f"It was not submitted: {error}"
            if not isinstance(error, Twister2Error):
                log.exception("the form's cell could not be submitted")
        self.mark()

    def _on_show(self, is_shown: bool) -> None:
        self.is_shown = is_shown
        self.mark()


def ask(values: ResourceValues, patience: float) -> dict[str, Any]:
    """Return the session's forecast for some values.

    Raises
    ------
    SessionError
    """
    from ...client.forecasts import forecast

    return forecast(values.resource, values.placement, patience=patience)


def show_for(ip: Any, arguments: argparse.Namespace, cell: cell_jobs.SubmitCell) -> None:
    """Show a form with the numbers of a cell's line, whose button submits the cell.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
    cell : SubmitCell
    """
    form = of_arguments(arguments)
    form._cell = cell
    form.show()


def of_arguments(arguments: argparse.Namespace) -> ResourceForm:
    """Return a form with the numbers of a parsed line.

    Raises
    ------
    SubmitError
        When its constraints cannot be understood.
    """
    form = ResourceForm()
    form.values = ResourceValues.of(arguments)
    return form


def last_or(arguments: argparse.Namespace) -> ResourceForm:
    """Return a form with a line's numbers; those that it does not give are the last submitted cell's."""
    cell = cell_jobs.last_cell()
    if cell is None:
        return of_arguments(arguments)
    given = [word for word in arguments.words if word != "--text"]
    return of_arguments(_parser().parse([*cell.words, *given]))


@cache
def _parser() -> VerbParser:
    return submit_parser.make_parser()


def _widget_type() -> type[FormWidget] | None:
    try:
        from ..widgets.resource_form import FormWidget
    except ImportError as error:
        log.info("no widgets: %s", error)
        return None
    return FormWidget


def _shell() -> Any:
    import sys

    found = sys.modules.get("IPython.core.getipython")
    return found.get_ipython() if found is not None else None

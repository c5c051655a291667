"""The magic itself: finds the verb, parses its line, and lets no stack trace of ours reach the cell."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...model.errors import JobFailed, Twister2Error
from ..errors import UsageError, without_frames
from ..rendering.text import align
from . import cluster, inside, jobs, resources, setup, submit, submit_parser
from .parser import CLOSE, HelpRequested, VerbParser, refuse_unexpanded, split


@dataclass(frozen=True)
class Verb:
    """One verb: how to make its parser, and what it does with ``(ip, arguments[, cell])``."""

    make_parser: Callable[[], VerbParser]
    run: Callable[..., Any]


VERBS: dict[str, Verb] = {
    "submit": Verb(submit_parser.make_parser, submit.run),
    "status": Verb(jobs.status_parser, jobs.status),
    "list": Verb(jobs.list_parser, jobs.list_jobs),
    "why": Verb(jobs.why_parser, jobs.why),
    "logs": Verb(jobs.logs_parser, jobs.logs),
    "top": Verb(inside.top_parser, inside.top),
    "stack": Verb(inside.stack_parser, inside.stack),
    "profile": Verb(inside.profile_parser, inside.profile),
    "debug": Verb(inside.debug_parser, inside.debug),
    "kill": Verb(jobs.kill_parser, jobs.kill),
    "restart": Verb(jobs.restart_parser, jobs.restart),
    "clear": Verb(jobs.clear_parser, jobs.clear),
    "attach": Verb(jobs.attach_parser, jobs.attach),
    "cluster": Verb(cluster.cluster_parser, cluster.cluster),
    "resources": Verb(resources.resources_parser, resources.resources),
    "config": Verb(cluster.config_parser, cluster.config),
    "setup": Verb(setup.make_parser, setup.run),
}


@cache
def parser_of(verb: str) -> VerbParser:
    """Return the parser of `verb`, made once."""
    return VERBS[verb].make_parser()


def overview() -> str:
    """Return what ``%twister2 --help`` prints."""
    parsers = [parser_of(verb) for verb in VERBS]
    return "\n".join(
        [
            "Twister2 jobs on Apache Mesos. The verbs, each with its own --help:",
            "",
            *align([[f"  {parser.prog}", parser.summary] for parser in parsers]),
        ]
    )


def documentation() -> str:
    """Return what ``%%twister2?`` shows: all verbs, and what people want to know most of, a cell that is a job."""
    return f"{overview()}\n\n{parser_of('submit').format_help()}"


def twister2(ip: Any, line: str, cell: str | None) -> Any:
    """Run ``%twister2 LINE``, or ``%%twister2 LINE`` with its cell.

    Parameters
    ----------
    ip : IPython.core.interactiveshell.InteractiveShell
    line : str
        What follows the magic's name.
    cell : str or None
        None for the line magic.

    Returns
    -------
    object
        What the verb returns, which IPython shows.

    Raises
    ------
    Twister2Error
        Shown as one line; a `JobFailed` with the worker's traceback.
    """
    try:
        return _run(ip, line, cell)
    except HelpRequested as help_requested:
        print(help_requested.text)
    except JobFailed as error:
        raise error.with_traceback(None) from error.__cause__
    except Twister2Error as error:
        raise without_frames(error).with_traceback(None) from None
    return None


def _run(ip: Any, line: str, cell: str | None) -> Any:
    magic = "%twister2" if cell is None else "%%twister2"
    words = split(line, magic)
    if not words or words[0] in ("-h", "--help", "help"):
        raise HelpRequested(overview())
    name, *rest = words
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, n=1, cutoff=CLOSE)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(VERBS)}"
        raise UsageError(f"there is no verb {name!r}; {hint}")
    parser = parser_of(name)
    refuse_unexpanded(line, ip.user_ns)
    arguments = parser.parse(rest)
    arguments.words = rest
    if parser.cell:
        if cell is None and not parser.line:
            raise UsageError(f"{name} takes a cell: begin the cell with {parser.prog}, with two % signs")
        return VERBS[name].run(ip, arguments, cell)
    if cell is not None and cell.strip():
        raise UsageError(f"{name} takes no cell: write {parser.prog}, with one % sign, on a line of its own")
    return VERBS[name].run(ip, arguments)

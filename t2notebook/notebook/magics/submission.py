"""The submit of a cell: its code becomes the worker, its options the job."""

from __future__ import annotations

import argparse
from typing import Any

from ..display import display_job
from ..errors import CellSyntaxError, Interrupted, UsageError
from ..follow import follow
from ..notices import told
from . import cell_jobs
from .dry_run import describe
from .targets import the_client
from .waiting import kill, wait


def submit_cell(ip: Any, arguments: argparse.Namespace, cell: cell_jobs.SubmitCell) -> list[Any] | None:
    """Submit a cell.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
        Of a line, which need not be the cell's own.
    cell : SubmitCell

    Returns
    -------
    list or None
        The results, after a wait where no variable has the handle.

    Raises
    ------
    UsageError
        When options contradict each other, or the cell cannot run on workers.
    JobFailed
        After a wait for a job that failed.
    """
    name = cell.name
    refuse_magics(cell.text)
    function = cell_worker(cell.text, ip.user_ns, name, arguments.include)
    options = {
        "workers": arguments.workers,
        "cpu": arguments.cpus,
        "ram_mega_bytes": arguments.ram,
        "disk_giga_bytes": arguments.disk,
        "workers_per_executor": arguments.workers_per_executor,
        "name": name,
        "gpus": arguments.gpus,
        "ports": arguments.ports,
        "image": arguments.image,
        "nodes": tuple(arguments.nodes),
        "where": arguments.where,
        "gang": arguments.gang,
        "gang_timeout": arguments.gang_timeout,
        "max_worker_restarts": arguments.max_restarts,
        "keep_going": arguments.keep_going,
        "scalable": arguments.scalable,
        "files": tuple(arguments.file),
    }
    client = the_client()
    if arguments.dry_run:
        print(describe(client.prepare(function, **options), arguments, name))
        return None
    earlier = cell_jobs.unfinished(cell.key)
    if arguments.replace:
        if arguments.name:
            earlier += client.unfinished_named(arguments.name)
        options["replace"] = earlier
    with told():
        job = client.submit(
            function,
            on_exit=arguments.on_exit,
            persistent_volume=arguments.persistent_volume,
            time_limit=arguments.time_limit,
            debug=arguments.debug,
            debug_timeout=arguments.debug_timeout,
            setenv=arguments.setenv,
            discovery=arguments.discovery,
            job_master=arguments.job_master,
            **options,
        )
    cell_jobs.remember(cell, job)
    if earlier and not arguments.replace:
        print(_still_running(earlier))
    if arguments.output:
        ip.user_ns[arguments.output] = job
    if not arguments.wait:
        display_job(job)
        if arguments.follow and follow(job) is None:
            _print_lines(job)
        return None
    watch = followed = None
    shown = job.view().waiting_for
    try:
        watch = display_job(job, is_told=True)
        if arguments.follow and (followed := follow(job)) is None:
            _print_lines(job)
        wait(job, watch, followed, shown=shown)
    except KeyboardInterrupt:
        if arguments.on_interrupt == "detach":
            raise Interrupted(
                f"you stopped the cell; job {job.job_id} goes on, and %twister2 kill ends it"
            ) from None
        raise Interrupted(kill(job, watch)) from None
    return None if arguments.output else list(job.results())


def _still_running(jobs: list[Any]) -> str:
    one = len(jobs) == 1
    ids = ", ".join(job.job_id for job in jobs)
    return (
        f"Of this cell's earlier runs {'job' if one else 'jobs'} {ids} {'has' if one else 'have'} not ended; "
        f"%twister2 kill ends {'it' if one else 'them'}, and --replace does so first."
    )


def _print_lines(job: Any) -> None:
    """Print what workers write until the job's end: in a terminal, where nothing goes on below the prompt."""
    for piece in job.logs(follow=True):
        print(piece, end="", flush=True)


def refuse_magics(cell: str) -> None:
    """Refuse a line that only IPython understands: workers run plain Python.

    Raises
    ------
    UsageError
    """
    from IPython.core.inputtransformer2 import (
        EscapedCommand,
        HelpEnd,
        MagicAssign,
        SystemAssign,
        make_tokens_by_line,
    )

    lines = cell.splitlines(keepends=True)
    try:
        tokens = make_tokens_by_line(lines)
        kinds = (EscapedCommand, MagicAssign, SystemAssign, HelpEnd)
        found = [kind.find(tokens) for kind in kinds]  # type: ignore[no-untyped-call]
    except SyntaxError:
        return  # Python's own message is better
    numbers = [transformer.start_line + 1 for transformer in found if transformer is not None]
    if numbers:
        number = min(numbers)
        text = lines[number - 1].strip()
        raise UsageError(
            f"line {number} of the cell is no Python: {text!r}; workers run plain Python, so run %, ! "
            "and ? lines in a cell of their own"
        )


def cell_worker(cell: str, namespace: dict[str, Any], name: str, include: list[str]) -> Any:
    """Return the worker function that a cell is.

    Parameters
    ----------
    cell : str
    namespace : dict
        The notebook's variables.
    name : str
        The job's, for tracebacks.
    include : list of str
        Variables of ``-i``.

    Raises
    ------
    CellSyntaxError
        When the cell is no Python; it shows where.
    UsageError
        When there is no variable of a name in `include`.
    """
    if not cell.strip():
        raise UsageError("the cell is empty; write the worker's code below the %%twister2 line")
    from ...package.cell import cell_function

    try:
        return cell_function(cell, namespace, name=name, include=tuple(include))
    except SyntaxError as error:
        raise CellSyntaxError(error) from None

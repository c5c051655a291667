"""The verbs that look into a job's workers while they run: top, stack, profile, debug."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from ...model.wording import its_workers
from ..errors import UsageError
from ..output import kernel_shell
from .jobs import JOB_HELP
from .parser import VerbParser, amount, choice, whole
from .targets import find_job

ORDERS = ("worker", "cpu", "mem")
#: Seconds between two tables that follow a job.
FOLLOW = 2.0


def top_parser() -> VerbParser:
    """Return the parser of ``%twister2 top``."""
    parser = VerbParser(
        "top",
        "Show what a job's workers use: cpu, memory, bytes read and written, GPUs.",
        epilog="Measured once a second on the agents, with the processes that a worker has started. cpu is how many "
        "cpus it\nused in the last second, mean since it began; memory is its own, without pages of files, which "
        "the kernel\ncan drop. job.usage has it over time.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "--by",
        type=choice("--by", ORDERS),
        default=ORDERS[0],
        metavar="X",
        help="order: worker, cpu or mem (default: worker)",
    )
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="show it anew until the job ends; stop with the stop button",
    )
    return parser


def top(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the table; if asked to, again and again in its place."""
    from ...client.top import top_text

    job = find_job(arguments.job, ip.user_ns)
    job.await_use(2.0)
    if not arguments.follow:
        print(top_text(job.view(), arguments.by))
        return
    try:
        while True:
            view = job.view()
            _in_place(top_text(view, arguments.by))
            if view.state.is_final or not job.is_attached:
                return
            time.sleep(FOLLOW)
    except KeyboardInterrupt:
        print("(stopped following; the job goes on)")


def _in_place(text: str) -> None:
    """Print a text where the last one stood."""
    if kernel_shell() is not None:
        from IPython.display import clear_output

        clear_output(wait=True)  # type: ignore[no-untyped-call]
    elif sys.stdout.isatty():
        print("\033[H\033[2J", end="")
    print(text, flush=True)


def stack_parser() -> VerbParser:
    """Return the parser of ``%twister2 stack``."""
    parser = VerbParser(
        "stack",
        "Print where a job's workers are: the stack of each thread, with the cell's lines.",
        epilog="Also of a worker that hangs, in Python or in C code. It does not disturb the worker.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "worker",
        nargs="?",
        metavar="WORKER",
        type=whole("WORKER", minimum=0),
        help="the worker's id, from 0 (default: all; those at the same place stand together)",
    )
    return parser


def stack(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the stacks."""
    job = find_job(arguments.job, ip.user_ns)
    check_worker(job, arguments.worker)
    print(job.stack(arguments.worker))


def profile_parser() -> VerbParser:
    """Return the parser of ``%twister2 profile``."""
    parser = VerbParser(
        "profile",
        "Show where a worker spends its time: a flame graph of its threads' stacks.",
        epilog="The worker is looked at a hundred times a second, which takes about 1 % of its time. A box is a "
        "function, as wide\nas the time in it; a click makes it as wide as the graph.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "worker", metavar="WORKER", type=whole("WORKER", minimum=0), help="the worker's id, from 0"
    )
    parser.add_argument(
        "--seconds",
        type=amount("--seconds", "seconds"),
        default=5.0,
        metavar="S",
        help="how long to look, 40 at the most (default: 5)",
    )
    return parser


def profile(ip: Any, arguments: argparse.Namespace) -> Any:
    """Return the profile, which shows itself.

    Raises
    ------
    UsageError
        When the time is too long.
    """
    if not 0.1 <= arguments.seconds <= 40:
        raise UsageError(f"--seconds is {arguments.seconds:g}; give a number from 0.1 to 40")
    job = find_job(arguments.job, ip.user_ns)
    check_worker(job, arguments.worker)
    return job.profile(arguments.worker, arguments.seconds)


def debug_parser() -> VerbParser:
    """Return the parser of ``%twister2 debug``."""
    parser = VerbParser(
        "debug",
        "Debug a worker that waits in the debugger: pdb, in this cell.",
        epilog="A worker waits there at breakpoint(), and, in a job that was submitted with --debug, where an "
        "exception was\nraised that nobody caught. c goes on, q ends the worker; the stop button detaches, and the "
        "worker waits on.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "worker",
        nargs="?",
        metavar="WORKER",
        type=whole("WORKER", minimum=0),
        help="the worker's id, from 0 (default: the first that waits)",
    )
    return parser


def debug(ip: Any, arguments: argparse.Namespace) -> None:
    """Debug it."""
    job = find_job(arguments.job, ip.user_ns)
    check_worker(job, arguments.worker)
    job.debug(arguments.worker)


def check_worker(job: Any, worker_id: int | None) -> None:
    """Refuse the id of a worker that a job does not have.

    Raises
    ------
    UsageError
    """
    number = len(job.view().workers)
    if worker_id is not None and worker_id >= number:
        raise UsageError(f"job {job.job_id} has {its_workers(number)}, not {worker_id}")

"""The verbs that look into a job's workers while they run: top."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from ..output import kernel_shell
from .jobs import JOB_HELP
from .parser import VerbParser, choice
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

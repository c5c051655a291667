"""``%%twister2 setup``: a cell that runs first in every worker of the notebook's later jobs."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UsageError
from .parser import VerbParser, add_include
from .submission import cell_worker, refuse_magics
from .targets import the_client

EPILOG = """\
What the cell sets holds in the worker before anything else of the job is there, and names that it binds are
there for the jobs' cells, unless the notebook has them, too. It does not run in the notebook.

  %%twister2 setup
  import os, numpy as np, pandas as pd
  np.seterr(all="raise")
  pd.set_option("mode.copy_on_write", True)
  os.environ["TZ"] = "UTC"

A cell that runs again, or another one, takes the place of the earlier setup.
%twister2 setup shows it, %twister2 setup --clear takes it away.
"""


def make_parser() -> VerbParser:
    """Return the parser of ``%%twister2 setup``."""
    parser = VerbParser(
        "setup",
        "Run the cell first in every worker of this notebook's later jobs.",
        cell=True,
        line=True,
        epilog=EPILOG,
    )
    add_include(parser)
    parser.add_argument("--show", action="store_true", help="print the setup")
    parser.add_argument("--clear", action="store_true", help="have no setup any more")
    return parser


def run(ip: Any, arguments: argparse.Namespace, cell: str | None = None) -> None:
    """Keep the cell as the setup; without one, show the setup or take it away.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
    cell : str, optional

    Raises
    ------
    UsageError
        When the cell is no setup.
    """
    setups = the_client().setups
    has_cell = cell is not None and bool(cell.strip())
    if arguments.show and arguments.clear:
        raise UsageError("setup takes either --show or --clear (%%twister2 setup --help)")
    if has_cell and (arguments.show or arguments.clear):
        option = "--show" if arguments.show else "--clear"
        raise UsageError(f"setup {option} takes no cell: write %twister2 setup {option} on a line of its own")
    if arguments.clear:
        earlier = setups.keep(None)
        print("This notebook's jobs have no setup any more." if earlier else _NONE)
        return
    if cell is None or arguments.show:
        kept = setups.current()
        print(f"First in every worker of this notebook's jobs:\n\n{kept.text}" if kept else _NONE)
        return
    refuse_magics(cell)

    def make() -> Any:
        return cell_worker(cell, ip.user_ns, "setup", arguments.include)

    earlier = setups.keep(setups.Setup(make, cell.rstrip("\n")))
    place = ", in the place of the earlier setup" if earlier else ""
    print(f"This cell will run first in every worker of this notebook's later jobs{place}.")


_NONE = "This notebook's jobs have no setup."

"""``%twister2 resources``: the form, or what it would say as text."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import VerbParser
from .resource_arguments import add_resources

EPILOG = """\
Sliders and boxes whose ends are what the cluster has, and how many such workers fit now and after running tasks
end. Submit runs the last %%twister2 submit cell of this notebook with these numbers, and prints the line that says
the same. %%twister2 submit --form shows the form for a cell of its own. From Python: t2.ResourceForm().
"""


def resources_parser() -> VerbParser:
    """Return the parser of ``%twister2 resources``."""
    parser = VerbParser(
        "resources", "Choose a job's resources by sliders that know the cluster.", epilog=EPILOG
    )
    add_resources(parser)
    parser.add_argument("--text", action="store_true", help="print what fits, without a form")
    return parser


def resources(ip: Any, arguments: argparse.Namespace) -> None:
    """Show the form; without a kernel or widgets, or where nothing else is wanted, print what it says."""
    from ..forms.form import last_or

    form = last_or(arguments)
    if arguments.text:
        print(form.text())
    else:
        form.show()

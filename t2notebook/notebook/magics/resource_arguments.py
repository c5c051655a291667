"""Options for which the form has sliders and boxes."""

from __future__ import annotations

import argparse

from .parser import MAX, amount, memory, names, whole


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the options for which the form has sliders and boxes."""
    add = parser.add_argument
    add(
        "--workers",
        type=whole("--workers", minimum=1),
        default=1,
        metavar="N",
        help="number of workers (default: 1)",
    )
    add(
        "--cpus",
        "--cpu",
        type=amount("--cpus", "cpus per worker"),
        default=1.0,
        metavar="X",
        help="cpus per worker, also parts of one (default: 1)",
    )
    add(
        "--ram",
        "--ram-mega-bytes",
        type=memory("--ram", "MiB per worker"),
        default=512.0,
        metavar="MIB",
        help="memory per worker, MiB, or with a unit: 1GB (default: 512)",
    )
    add(
        "--disk",
        "--disk-giga-bytes",
        type=amount("--disk", "GiB per worker", zero=True),
        default=0.0,
        metavar="GIB",
        help="disk per worker, GiB (default: 0)",
    )
    add(
        "--workers-per-executor",
        type=whole("--workers-per-executor", minimum=1, also=MAX),
        default=MAX,
        metavar="N",
        help="workers that share one executor: a number, or max, as many as an offer holds (default: max)",
    )
    add(
        "--gpus",
        type=whole("--gpus", minimum=0),
        default=0,
        metavar="N",
        help="whole GPUs per worker (default: 0)",
    )
    add(
        "--nodes",
        type=names("--nodes"),
        default=[],
        metavar="H1,H2",
        help="hosts of the agents that may be used (default: any)",
    )
    add(
        "--where",
        default="",
        metavar="C1,C2",
        help="agents by their attributes: rack=r1, rack=r1|r2, zone!=b, keys=1200 (in one of its ranges), "
        "unique:hostname (one worker a host), spread:rack (evenly over the racks); "
        "values with a comma or | stand in quotes: 'note=\"a,b\"'",
    )

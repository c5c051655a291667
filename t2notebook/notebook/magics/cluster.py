"""The verbs about the cluster and the settings: cluster, config."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from ..errors import UsageError
from ..text import align
from .parser import VerbParser
from .targets import the_client

ACTIONS = ("show", "start", "stop")


def cluster_parser() -> VerbParser:
    """Return the parser of ``%twister2 cluster``."""
    parser = VerbParser("cluster", "Show the Mesos cluster that jobs go to; start or stop the embedded one.")
    parser.add_argument(
        "action", nargs="?", default="show", metavar="ACTION", help="show (default), start or stop"
    )
    return parser


def cluster(ip: Any, arguments: argparse.Namespace) -> None:
    """Print what is known of the cluster after the action."""
    client = the_client()
    if arguments.action not in ACTIONS:
        raise UsageError(f"cluster {arguments.action}: say show, start or stop (%twister2 cluster --help)")
    if arguments.action == "stop":
        print("The embedded Mesos is stopped." if client.stop_cluster() else "No embedded Mesos ran.")
        return
    info = client.start_cluster() if arguments.action == "start" else client.cluster_info()
    master = client.get_config().master
    if master != "local":
        print(f"Jobs go to the Mesos master {master}.")
    print(table(info) if info else "No embedded Mesos runs; the first job for it starts one.")


def config_parser() -> VerbParser:
    """Return the parser of ``%twister2 config``."""
    return VerbParser("config", "Show the settings that hold now; t2notebook.configure(...) changes them.")


def config(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the settings."""
    print(table(the_client().get_config()))


def table(record: Any) -> str:
    """Return a mapping or a dataclass as aligned lines ``name  value``; anything else as its text."""
    if is_dataclass(record) and not isinstance(record, type):
        record = asdict(record)
    if not isinstance(record, Mapping):
        return str(record)
    lines: list[str] = []
    for name, value in record.items():
        if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            lines += [f"{name}:", *(f"  {line}" for line in _rows(value))]
        else:
            lines.append(f"{name}\t{_plain(value)}")
    width = max((len(line.partition("\t")[0]) for line in lines if "\t" in line), default=0)
    return "\n".join(
        f"{name:<{width}}  {value}".rstrip() if tab else name for name, tab, value in _parts(lines)
    )


def _parts(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition("\t") for line in lines]


def _rows(records: list[Mapping[str, Any]] | tuple[Mapping[str, Any], ...]) -> list[str]:
    names = list(dict.fromkeys(name for record in records for name in record))
    return align([names, *([_plain(record.get(name, "")) for name in names] for record in records)])


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return "" if value is None else str(value)

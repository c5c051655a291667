"""Values of the resource form: what may be chosen, and as what they stand in a line and in a call. Pure."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..model.job import MAX, ComputeResource, Placement
from ..model.placement import Constraint, Operator, parse_where

#: Options of ``%%twister2 submit`` that the form sets, and the value that needs no option.
_OPTIONS = {
    "--workers": "workers",
    "--cpus": "cpus",
    "--ram": "ram",
    "--disk": "disk",
    "--gpus": "gpus",
    "--workers-per-executor": "workers_per_executor",
    "--nodes": "nodes",
    "--where": "where",
}
#: Always in a line, since they are what the form is about.
_ALWAYS = frozenset({"--workers", "--cpus", "--ram"})
#: Further spellings, and what a line for good does not have.
_DROPPED = frozenset({"--cpu", "--ram-mega-bytes", "--disk-giga-bytes", "--form", "--dry-run"})


@dataclass(frozen=True)
class ResourceValues:
    """Numbers and places of a job's workers.

    Parameters
    ----------
    workers : int
    cpus : float
        Of each worker, as all that follow.
    ram : float
        MiB.
    disk : float
        GiB.
    gpus : int
    workers_per_executor : int or "max"
    nodes : tuple of str
        Hosts that may be used; empty: any.
    attributes : tuple
        Pairs of an attribute's name and the values of which an agent has to have one.
    more : str
        Further constraints, as ``--where`` has them.
    """

    workers: int = 1
    cpus: float = 1.0
    ram: float = 512.0
    disk: float = 0.0
    gpus: int = 0
    workers_per_executor: int | str = MAX
    nodes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    more: str = ""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> ResourceValues:
        """Take the values of a parsed line."""
        attributes, more = split_where(arguments.where)
        return cls(
            arguments.workers,
            arguments.cpus,
            arguments.ram,
            arguments.disk,
            arguments.gpus,
            arguments.workers_per_executor,
            tuple(arguments.nodes),
            attributes,
            more,
        )

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> ResourceValues:
        """Read what a page sends.

        Raises
        ------
        SubmitError
            When something cannot be; in one line.
        """
        found: dict[str, Any] = {}
        for one in fields(cls):
            value = record.get(one.name, one.default)
            if one.name == "attributes":
                pairs = value.items() if isinstance(value, Mapping) else value
                value = tuple((str(name), tuple(map(str, some))) for name, some in pairs if some)
            elif one.name == "nodes":
                value = tuple(map(str, value))
            elif one.name in ("workers", "gpus") and isinstance(value, float) and value.is_integer():
                value = int(value)
            found[one.name] = value
        values = cls(**found)
        values.check()
        return values

    def check(self) -> None:
        """Refuse what no job can have.

        Raises
        ------
        SubmitError
        """
        _ = self.resource, self.placement

    @property
    def where(self) -> str:
        """The constraints as ``--where`` takes them."""
        chosen = [str(Constraint(Operator.EQUAL, name, values)) for name, values in self.attributes]
        return ",".join([*chosen, *([self.more.strip()] if self.more.strip() else [])])

    @property
    def resource(self) -> ComputeResource:
        """The resources of each worker.

        Raises
        ------
        SubmitError
        """
        return ComputeResource(
            cpu=self.cpus,
            ram_mega_bytes=self.ram,
            disk_giga_bytes=self.disk,
            instances=self.workers,
            workers_per_executor=self.workers_per_executor,
            gpus=self.gpus,
        )

    @property
    def placement(self) -> Placement:
        """The agents on which they may run.

        Raises
        ------
        SubmitError
        """
        return Placement(nodes=self.nodes, where=self.where)

    def options(self) -> dict[str, Any]:
        """Return keyword arguments of `t2.submit`."""
        return {
            "workers": self.workers,
            "cpu": self.cpus,
            "ram_mega_bytes": self.ram,
            "disk_giga_bytes": self.disk,
            "gpus": self.gpus,
            "workers_per_executor": self.workers_per_executor,
            "nodes": self.nodes,
            "where": self.where,
        }

    def words(self) -> list[str]:
        """Return the options of ``%%twister2 submit`` that say the same."""
        defaults = ResourceValues()
        words: list[str] = []
        for option, name in _OPTIONS.items():
            value = getattr(self, name)
            if option in _ALWAYS or value != getattr(defaults, name):
                text = (
                    ",".join(value)
                    if name == "nodes"
                    else value
                    if isinstance(value, str)
                    else f"{value:.10g}"
                )
                words += [option, text]
        return words

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**record, "attributes": dict(self.attributes), "nodes": list(self.nodes)}


def split_where(where: str) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], str]:
    """Return the attributes that must have one of some values, and all other constraints as text."""
    chosen: dict[str, tuple[str, ...]] = {}
    others = []
    for constraint in parse_where(where):
        if constraint.operator is Operator.EQUAL and constraint.attribute not in chosen:
            chosen[constraint.attribute] = constraint.values
        else:
            others.append(str(constraint))
    return tuple(chosen.items()), ",".join(others)


def replaced(words: Sequence[str], values: ResourceValues, takes_value: Callable[[str], bool]) -> list[str]:
    """Return the words of a line with these numbers instead of its own.

    Parameters
    ----------
    words : sequence of str
        What follows ``%%twister2 submit``.
    values : ResourceValues
    takes_value : callable
        Whether an option is followed by a value.
    """
    return [*values.words(), *others(words, takes_value)]


def others(words: Sequence[str], takes_value: Callable[[str], bool]) -> list[str]:
    """Return the words of a line that the form does not set."""
    kept: list[str] = []
    at = 0
    while at < len(words):
        option, sign, _ = words[at].partition("=")
        # Another option's value may look like one of ours.
        width = 2 if not sign and takes_value(option) else 1
        if option not in _OPTIONS and option not in _DROPPED:
            kept += words[at : at + width]
        at += width
    return kept


def line(words: Sequence[str]) -> str:
    """Return the first line of a cell."""
    # IPython would take what stands in braces for a variable.
    text = shlex.join(words).replace("{", "{{").replace("}", "}}")
    return f"%%twister2 submit {text}"

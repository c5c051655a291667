"""Argument parsers for magics: argparse, but every mistake is one line and ``--help`` is no exit."""

from __future__ import annotations

import argparse
import builtins
import difflib
import math
import re
import shlex
from collections.abc import Callable, Container, Sequence
from functools import partial
from keyword import iskeyword
from typing import Any, NoReturn

from ...model.errors import SubmitError
from ...model.units import mebibytes_of
from ..errors import UsageError

MAX = "max"
#: How alike (difflib's ratio) a word must be to one of ours to be taken for it.
CLOSE = 0.75


class HelpRequested(Exception):
    """``--help`` stands in the line; `text` is what to print."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _HelpAction(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **_: Any) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="show this help"
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        raise HelpRequested(parser.format_help())


class VerbParser(argparse.ArgumentParser):
    """The parser of one verb.

    Parameters
    ----------
    verb : str
        As it stands in the line.
    summary : str
        What the verb does, one line; the first of its help.
    cell : bool
        Whether the verb takes the cell below it.
    line : bool
        Whether a verb that takes a cell also stands alone on a line.
    epilog : str
        Examples, shown as they are.
    """

    def __init__(
        self, verb: str, summary: str, *, cell: bool = False, line: bool = False, epilog: str = ""
    ) -> None:
        self.verb = verb
        self.summary = summary
        self.cell = cell
        self.line = line or not cell
        self.added: list[argparse.Action] = []
        super().__init__(
            prog=f"{'%%' if cell else '%'}twister2 {verb}",
            description=summary,
            epilog=epilog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=96, max_help_position=34),
        )
        self.add_argument("-h", "--help", action=_HelpAction)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument as argparse does, and keep it for `options`."""
        self.added.append(super().add_argument(*names, **options))
        return self.added[-1]

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Return the arguments in `words`.

        Raises
        ------
        UsageError
            For whatever cannot be understood, in one line.
        HelpRequested
            When ``-h`` or ``--help`` is among them.
        """
        if "-h" in words or "--help" in words:
            raise HelpRequested(self.format_help())
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            self._refuse(unknown[0])
        return arguments

    def takes_value(self, option: str) -> bool:
        """Whether an option is followed by a value, as a word of its own."""
        action = self.options().get(option)
        return action is not None and action.nargs != 0

    def options(self) -> dict[str, argparse.Action]:
        """Return every option string with its action, ``--help`` last."""
        found = {text: action for action in self.added for text in action.option_strings}
        return {
            **{text: found[text] for text in found if text not in ("-h", "--help")},
            "--help": found["--help"],
        }

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found as a `UsageError`.

        Raises
        ------
        UsageError
            Always.
        """
        if match := re.fullmatch(r"argument (\S+): expected (one|at least one) argument", message):
            message = f"{match[1]} needs a value"
        elif match := re.fullmatch(r"the following arguments are required: (.+)", message):
            message = f"{match[1].replace(', ', ' and ')} {'are' if ',' in match[1] else 'is'} missing"
        elif match := re.fullmatch(r"argument (\S+): ignored explicit argument (.+)", message):
            message = f"{match[1]} takes no value"
        else:
            message = message.removeprefix("argument ")
        raise UsageError(f"{message} ({self.prog} --help)")

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            raise UsageError(f"{word!r} is one argument too many ({self.prog} --help)")
        option = word.partition("=")[0]
        close = difflib.get_close_matches(option, self.options(), n=1, cutoff=CLOSE)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown option {option}{hint} ({self.prog} --help)")


def split(line: str, prog: str) -> list[str]:
    """Return the words of a magic's line, quoted as in a shell.

    Raises
    ------
    UsageError
        When a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{prog}: {str(error).lower()} in {line.strip()!r}") from None


def refuse_unexpanded(line: str, namespace: Container[str]) -> None:
    """Refuse a ``{name}`` or ``$name`` of no variable.

    IPython leaves the whole line as it is when it cannot replace one of them, and says nothing.

    Raises
    ------
    UsageError
    """
    for match in _UNEXPANDED.finditer(line):
        missing = [name for name in _NAME.findall(match[1] or match[2]) if not _is_known(name, namespace)]
        if missing:
            raise UsageError(f"{match[0]} stands for a variable, and there is no variable {missing[0]!r}")
        if match[1] and not match[1].isidentifier():
            raise UsageError(f"{match[0]} cannot be replaced: {match[1]!r} raises an error here")


_UNEXPANDED = re.compile(r"\{([^{}]+)\}|\$([A-Za-z_]\w*)")
_NAME = re.compile(r"(?<![\w.\"'])[A-Za-z_]\w*")


def _is_known(name: str, namespace: Container[str]) -> bool:
    return name in namespace or hasattr(builtins, name) or iskeyword(name)


def whole(option: str, *, minimum: int, also: str = "") -> Callable[[str], int | str]:
    """Return a type for argparse: a whole number from `minimum`, or the word `also`.

    Parameters
    ----------
    option : str
        For messages.
    minimum : int
    also : str
        A word that is allowed, too.
    """

    def convert(text: str) -> int | str:
        if also and text == also:
            return text
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise UsageError(
                f"{option} is {text}; give a whole number from {minimum}{f' or {also}' if also else ''}"
            )
        return number

    return convert


def amount(option: str, what: str, *, zero: bool = False) -> Callable[[str], float]:
    """Return a type for argparse: a number of `what`, more than 0, or from 0 if `zero`.

    Parameters
    ----------
    option, what : str
        For messages.
    zero : bool
        Whether 0 is allowed.
    """

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{option} is {text}; give a number, {what}")
        if number < 0 or (number == 0 and not zero):
            raise UsageError(f"{option} is {text}; give {'0 or more' if zero else 'more than 0'}, {what}")
        return number

    return convert


def memory(option: str, what: str) -> Callable[[str], float]:
    """Return a type for argparse: an amount of memory more than 0, in MiB or with a unit."""

    def convert(text: str) -> float:
        try:
            number = mebibytes_of(text.removeprefix("-"))
        except SubmitError:
            raise UsageError(f"{option} is {text}; give a number, {what}, or one with a unit: 1GB") from None
        if number == 0 or text.startswith("-"):
            raise UsageError(f"{option} is {text}; give more than 0, {what}")
        return number

    return convert


def choice(option: str, words: Sequence[str]) -> Callable[[str], str]:
    """Return a type for argparse: one of some words."""

    def convert(text: str) -> str:
        if text not in words:
            raise UsageError(f"{option} is {text!r}; give {' or '.join(words)}")
        return text

    return convert


def variable(option: str) -> Callable[[str], str]:
    """Return a type for argparse: the name of a variable."""

    def convert(text: str) -> str:
        if not text.isidentifier() or iskeyword(text):
            raise UsageError(f"{option} is {text!r}; give the name of a variable")
        return text

    return convert


def variables(option: str) -> Callable[[str], list[str]]:
    """Return a type for argparse: names of variables with commas between them."""
    one = variable(option)

    def convert(text: str) -> list[str]:
        return [one(name.strip()) for name in text.split(",") if name.strip()]

    return convert


def add_include(parser: argparse.ArgumentParser) -> None:
    """Add ``-i``: variables that a cell takes along besides those that it names."""
    parser.add_argument(
        "-i",
        "--include",
        type=variables("--include"),
        default=[],
        action="extend",
        metavar="X,Y",
        help="variables to take along that the cell does not name itself",
    )


def names(option: str) -> Callable[[str], list[str]]:
    """Return a type for argparse: names of any kind with commas between them."""

    def convert(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        if not all(found):
            raise UsageError(f"{option} is {text!r}; give names with commas between them")
        return found

    return convert

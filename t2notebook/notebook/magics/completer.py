"""Tab completion of the magics: verbs, options, jobs and worker ids, from what the kernel already knows."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ...config import Config
from .cluster import ACTIONS
from .dispatch import VERBS, parser_of
from .inside import ORDERS
from .parser import MAX
from .submit_parser import JOB_MASTERS, ON_EXIT
from .targets import handles

_LINE = re.compile(r"^(?:.*=)?\s*(?P<magic>%%?)twister2(?P<rest>\s.*)$", re.DOTALL)
#: Verbs whose first word is a job.
_TAKES_JOB = frozenset(
    {"status", "why", "logs", "top", "stack", "profile", "debug", "kill", "restart", "clear", "attach"}
)
#: Never more worker ids than a person can read.
_MOST_WORKERS = 100


def complete(line: str, namespace: dict[str, Any]) -> list[str] | None:
    """Return the words that may follow at the end of `line`.

    Parameters
    ----------
    line : str
        The line up to the cursor.
    namespace : dict
        The notebook's variables.

    Returns
    -------
    list of str or None
        Sorted as shown; None if the line is not one of ours.
    """
    match = _LINE.match(line)
    if match is None:
        return None
    *words, word = re.split(r"\s+", match["rest"].lstrip())
    cell = match["magic"] == "%%"
    return [option for option in _candidates(words, word, cell, namespace) if option.startswith(word)]


def _candidates(words: list[str], word: str, cell: bool, namespace: dict[str, Any]) -> Iterable[str]:
    if not words:
        fitting = [verb for verb in VERBS if (parser_of(verb).cell if cell else parser_of(verb).line)]
        return [*fitting, "--help"]
    verb = words[0]
    if verb not in VERBS:
        return []
    options = parser_of(verb).options()
    action = options.get(words[-1])
    if action is not None and action.nargs != 0:
        return _files(word) if action.dest == "file" else _values(action.dest, namespace)
    if word.startswith("-"):
        used = {option for text in words if text in options for option in options[text].option_strings}
        return [option for option in options if option.startswith("--") and option not in used]
    plain = [text for text in words[1:] if not text.startswith("-")]
    if verb in _TAKES_JOB and not plain:
        return _jobs(namespace)
    if verb in ("logs", "stack", "profile", "debug") and len(plain) == 1:
        return _workers(plain[0], namespace)
    if verb == "cluster" and not plain:
        return ACTIONS
    if verb == "config" and not plain:
        return [one.name for one in fields(Config)]
    return [option for option in options if option.startswith("--")] if parser_of(verb).cell else []


def _values(name: str, namespace: dict[str, Any]) -> Iterable[str]:
    if name == "workers_per_executor":
        return [MAX]
    if name == "output":
        return handles(namespace)
    if name == "by":
        return ORDERS
    if name in ("on_exit", "on_interrupt"):
        return ON_EXIT
    if name == "job_master":
        return JOB_MASTERS
    if name == "discovery":
        return ["zookeeper"]
    if name == "where":
        return ["unique:hostname", "spread:hostname"]
    if name == "include":
        return sorted(key for key in list(namespace) if not key.startswith("_"))
    return []


def _files(word: str) -> list[str]:
    """Return the paths in the current directory that begin with `word`; folders end with a slash."""
    folder, _, begun = word.rpartition("/")
    if os.path.isabs(word):
        return []
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    prefix = f"{folder}/" if folder else ""
    return [
        f"{prefix}{entry.name}{'/' * entry.is_dir()}"
        for entry in entries
        if " " not in entry.name and (not entry.name.startswith(".") or begun.startswith("."))
    ]


def _jobs(namespace: dict[str, Any]) -> list[str]:
    client = sys.modules.get("t2notebook.client")
    known = list(client.job_ids()) if client is not None else []
    return [*sorted(handles(namespace)), *reversed(known)]


def _workers(name: str, namespace: dict[str, Any]) -> list[str]:
    for variable, job in handles(namespace).items():
        if name == variable or job.job_id.startswith(name):
            number = len(job.view().workers)
            return [str(worker_id) for worker_id in range(min(number, _MOST_WORKERS))]
    return []


class _Nothing(list[Any]):
    """No completions, of a length: IPython lets other matchers in where a list of length 0 would keep them out."""

    def __len__(self) -> int:
        return 1


_CELL = re.compile(r"\s*%%twister2\s+(?:submit|setup)\b")
_ENV = re.compile(r"(?<![\w.])env\.(\w*)$")


def complete_env(text: str, line: str) -> list[str] | None:
    """Return the attributes of `env` that may follow at the end of `line`; None if `env.` does not stand there.

    Parameters
    ----------
    text : str
        The whole cell.
    line : str
        Its line with the cursor, up to there.
    """
    match = _ENV.search(line) if _CELL.match(text) else None
    if match is None:
        return None
    from ...worker.process.environment import WorkerEnvironment

    names = {*inspect.get_annotations(WorkerEnvironment), *dir(WorkerEnvironment)}
    return sorted(name for name in names if not name.startswith("_") and name.startswith(match[1]))


def make_matcher(ip: Any) -> Any:
    """Return a matcher for ``ip.Completer.custom_matchers``."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="t2notebook")  # type: ignore[untyped-decorator]
    def twister2_matcher(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        if (names := complete_env(context.full_text, line)) is not None:
            return {
                "completions": [SimpleCompletion(text=name, type="instance") for name in names] or _Nothing(),
                "matched_fragment": line.rpartition(".")[2],
                "suppress": True,
                "ordered": True,
            }
        found = complete(line, ip.user_ns)
        if found is None:
            return {"completions": []}
        return {
            "completions": [SimpleCompletion(text=text, type="magic") for text in found] or _Nothing(),
            "matched_fragment": re.split(r"\s", line)[-1],
            "suppress": True,
            "ordered": True,
        }

    return twister2_matcher

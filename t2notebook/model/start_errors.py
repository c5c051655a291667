"""Reasons why an executor's program did not start, read from its stderr. Pure.

Mesos's fetcher writes to the same file before the program does, in glog's form; Twister2 users know none of it.
"""

from __future__ import annotations

import re

_FETCHER = re.compile(r"[IWEF]\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.(?:cpp|hpp|py)(?::\d+)?\] ")
#: Every line that our executor writes has it: then the program has started.
_OURS = "t2notebook executor: "
#: Of several lines, the one that says why: an interpreter's last words, the loader's, the shell's.
_SAYS_WHY = re.compile(r"[Ee]rror|not found|denied|t2notebook: |[Nn]o such|cannot |[Ii]llegal")
_LONGEST = 300
_NO_USER = re.compile(
    r"No such user '(?P<name>[^']*)'|[Ff]ailed to get user information for '(?P<also>[^']*)'"
)


def without_fetcher(stderr: str) -> str:
    """Return the text without the lines of Mesos's fetcher."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not _FETCHER.match(line))


def start_failure(stderr: str) -> str:
    """Return the line that says why a program did not start; empty if it did, or said nothing."""
    if _OURS in stderr:
        return ""
    lines = [line.strip() for line in without_fetcher(stderr).splitlines() if line.strip()]
    telling = [line for line in lines if _SAYS_WHY.search(line)]
    return next(reversed(telling or lines), "")[:_LONGEST]


def unknown_user(message: str) -> str:
    """Return the user that an agent does not know, by Mesos's words for it; empty if it is something else."""
    found = _NO_USER.search(message)
    return (found["name"] or found["also"]) if found else ""

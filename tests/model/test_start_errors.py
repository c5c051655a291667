"""Reasons why an executor's program did not start, from real stderr files."""

from __future__ import annotations

import pytest

from t2notebook.model.start_errors import start_failure, unknown_user, without_fetcher

# Mesos 1.12's fetcher, before the program (five lines for each URI).
FETCHER = """\
I1128 09:00:00.123456  4242 fetcher.cpp:564] Fetcher Info: {"cache_directory":"/tmp/mesos/fetch","items":[]}
I1128 09:00:00.124456  4242 fetcher.cpp:461] Fetching URI 'http://10.0.0.1:4040/v1/core/t2-core-1.pyz'
I1128 09:00:00.124556  4242 fetcher.cpp:300] Fetching '/tmp/mesos/fetch/c1-t2-core-1.pyz' from cache
W1128 09:00:00.124656  4242 fetcher.cpp:332] Copying instead of extracting resource from URI
I1128 09:00:00.125456  4242 fetcher.cpp:624] Successfully fetched all URIs into '/var/lib/mesos/error'
"""
LOADER = (
    "/opt/py/bin/python3.11: error while loading shared libraries: libpython3.11.so.1.0: "
    "cannot open shared object file: No such file or directory"
)
FATAL = """\
Python path configuration:
  PYTHONHOME = '/nowhere'
Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding
Python runtime state: core initialized
ModuleNotFoundError: No module named 'encodings'

Current thread 0x00007f (most recent call first):
  <no Python frame>
"""


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", ""),
        (FETCHER, ""),
        (f"{FETCHER}{LOADER}\n", LOADER),
        (FATAL, "ModuleNotFoundError: No module named 'encodings'"),
        (f"{FETCHER}sh: 1: exec: /opt/x: Permission denied\n", "sh: 1: exec: /opt/x: Permission denied"),
        ("t2notebook: this agent has no python3.11; workers need CPython 3.11.\n",) * 2,
        (f"{LOADER}\n09:00:00 t2notebook executor: worker 0 of j: STARTING\n", ""),
        ("some words\n", "some words"),
    ],
)
def test_the_line_that_says_why(stderr: str, line: str) -> None:
    assert start_failure(stderr) == line.strip()


def test_the_fetchers_lines_are_not_the_programs() -> None:
    assert without_fetcher(f"{FETCHER}I am here\nI1128 of mine\n") == "I am here\nI1128 of mine\n"


@pytest.mark.parametrize(
    ("message", "user"),
    [
        (
            "Failed to create executor directory '/w': Failed to chown directory to 'eve': No such user 'eve'",
            "eve",
        ),
        ("Failed to get user information for 'bob': No such user", "bob"),
        ("Executor terminated", ""),
    ],
)
def test_a_user_whom_the_agent_does_not_have(message: str, user: str) -> None:
    assert unknown_user(message) == user

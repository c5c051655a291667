"""Reasons why an executor's program did not start, from real stderr files."""

from __future__ import annotations

import pytest

from t2notebook.model.start_errors import (
    image_failure,
    refused_user,
    start_failure,
    unknown_user,
    without_fetcher,
)

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


def test_a_user_whom_the_master_refuses() -> None:
    refusal = "User 'root' is not allowed to run frameworks without --root_submissions set"
    assert refused_user(refusal).startswith(refusal) and "t2.configure(user=...)" in refused_user(refusal)
    assert refused_user("Framework has been removed") == "Framework has been removed"


PULL = (
    "Failed to launch container: Failed to run '/usr/bin/{0} pull {1}': exited with status {2}; stderr='{3}'"
)
PODMAN, DOCKER = "/usr/bin/podman", "docker -H unix:///var/run/docker.sock"
MISSING = [
    # As podman 4.3 and docker 20.10 say it; the real Mesos quotes the latter's newline, too.
    (
        PODMAN,
        "Error: reading manifest latest in docker.io/library/x: errors: denied: requested access is denied",
    ),
    (
        PODMAN,
        'Error: short-name "x" did not resolve to an alias and no unqualified-search registries are defined',
    ),
    (
        DOCKER,
        "Error response from daemon: manifest for x:latest not found: manifest unknown: manifest unknown\n'",
    ),
]
FAR = [
    (
        PODMAN,
        'Error: pinging container registry r.invalid: Get "https://r.invalid/v2/": lookup r.invalid: no such host',
    ),
    (PODMAN, 'Error: Get "https://localhost/v2/": dial tcp 127.0.0.1:443: connect: connection refused'),
    (
        DOCKER,
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": (Client.Timeout exceeded): i/o timeout',
    ),
]


def pull(program: str, stderr: str) -> str:
    return PULL.format(program, "x", 1, stderr)


@pytest.mark.parametrize(("program", "stderr"), MISSING)
def test_an_image_that_nobody_has_is_said_in_one_line(program: str, stderr: str) -> None:
    text = image_failure(pull(program, stderr), "x", "h1")
    assert text.startswith("h1 has no image x, and no registry gave it (Error")
    assert (
        text.endswith("); build or pull it there, or name another") and "\n" not in text and "')" not in text
    )


@pytest.mark.parametrize(
    "message",
    [
        *(pull(program, stderr) for program, stderr in FAR),
        "Failed to launch container: Failed to run 'podman pull ...': it did not answer for 1800 s",
    ],
)
def test_a_registry_that_cannot_be_reached_is_said_in_one_line(message: str) -> None:
    text = image_failure(message, "x", "h1")
    assert text.startswith("h1 cannot reach the registry of the image x (")
    assert text.endswith("pull it there by hand, or name an image that the agent has")


def test_an_agent_without_a_container_engine_is_told_apart_from_one_that_is_deaf() -> None:
    none = (
        "None of the enabled containerizers (mesos) could create a container for the provided TaskInfo/ExecutorInfo "
        "message"
    )
    assert image_failure(none, "x", "h1").startswith(
        "h1 has no container engine for the image x: install podman or"
    )
    deaf = (
        "Failed to launch container: Cannot connect to the container engine by '/usr/bin/docker': Cannot connect to "
        "the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    )
    assert image_failure(deaf, "x", "h1") == (
        "the container engine of h1 does not answer (Cannot connect to the Docker daemon at "
        "unix:///var/run/docker.sock. Is the docker daemon running?); start it there for the image x"
    )
    assert "containerizer='docker'" in image_failure(
        "Failed to launch container: Unsupported container image: DOCKER", "x", "h1"
    )


@pytest.mark.parametrize(
    "message", ["", "Executor terminated", "Failed to launch container: Failed to fork: EAGAIN"]
)
def test_what_is_not_the_images_fault_is_left_to_others(message: str) -> None:
    assert image_failure(message, "x", "h1") == ""

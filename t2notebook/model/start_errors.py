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


#: Mesos's words (`slave/containerizer/composing.cpp`, `docker/docker.cpp`, `mesos/provisioner/provisioner.cpp`).
_NO_ENGINE = "None of the enabled containerizers"
_NO_PROVIDER = re.compile(r"Unsupported container image|[Ii]mage provider .*not supported")
_PULL = re.compile(r"Failed to run '[^']* pull [^']*'|Failed to perform 'curl'|Failed to pull|could not pull")
_STDERR = re.compile(r"stderr='?(?P<text>.*)")
_DEAF_ENGINE = re.compile(
    r"Cannot connect to|daemon running|docker API at|connect to the Docker|Podman socket"
)
_FAR = re.compile(
    r"no such host|connection refused|i/o timeout|timed? ?out|network is unreachable|no route to host|handshake|x509|"
    r"certificate|[Tt]emporary failure|server misbehaving|Could not resolve|Couldn't connect|unexpected EOF|"
    r"did not answer"
)


def image_failure(message: str, image: str, host: str) -> str:
    """Return in one line why a container could not be made from its image; empty if it is something else.

    Parameters
    ----------
    message : str
        Mesos's.
    image, host : str
        The image, and the agent's host.
    """
    if _NO_ENGINE in message:
        return (
            f"{host} has no container engine for the image {image}: install podman or docker there (a mesos-agent "
            "needs --containerizers=docker,mesos), or run the job without an image"
        )
    if _NO_PROVIDER.search(message):
        return (
            f"{host} runs no images by Mesos's own containerizer (mesos-agent --image_providers=docker); "
            "t2.configure(containerizer='docker') asks for Docker's"
        )
    told = _STDERR.search(message)
    detail = (told["text"] if told else message.rpartition(": ")[2]).strip().rstrip("'").strip()[:_LONGEST]
    if _DEAF_ENGINE.search(message):
        return (
            f"the container engine of {host} does not answer ({detail}); start it there for the image {image}"
        )
    if not _PULL.search(message):
        return ""
    if _FAR.search(detail):
        return (
            f"{host} cannot reach the registry of the image {image} ({detail}); pull it there by hand, or name an "
            "image that the agent has"
        )
    return f"{host} has no image {image}, and no registry gave it ({detail}); build or pull it there, or name another"


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


def silent_start(where: str) -> str:
    """Return what to look at when an executor has ended with nothing on its stderr: not even a worker's beginning."""
    return (
        f"the executor on {where} ended without a word before a worker ran; does its Python start there? "
        "t2.configure(python=...) names another"
    )


def unknown_user(message: str) -> str:
    """Return the user that an agent does not know, by Mesos's words for it; empty if it is something else."""
    found = _NO_USER.search(message)
    return (found["name"] or found["also"]) if found else ""


def refused_user(message: str) -> str:
    """Return a master's refusal of a framework with what to do about it, if the framework's user is why; else as it is.

    Mesos says ``User 'root' is not allowed to run frameworks without --root_submissions set`` (src/master/master.cpp).
    """
    if "--root_submissions" not in message:
        return message
    return f"{message}; name another user, whom the agents have, with t2.configure(user=...)"

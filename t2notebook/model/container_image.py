"""Container images that workers run in, and the host's directories that they see there. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Where the containerizers of Mesos put the sandbox in a container with an image (their `--sandbox_directory`).
SANDBOX = "/mnt/mesos/sandbox"
#: `[registry[:port]/]path[:tag][@digest]`, without what a shell or an engine could take for something else.
NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._\-]*(:\d+/)?[A-Za-z0-9._\-/]*(:[\w.\-]+)?(@[A-Za-z0-9]+:[A-Fa-f0-9]+)?"
)
LONGEST = 500


@dataclass(frozen=True)
class ContainerImage:
    """The surroundings of an executor that has an image: only workers that ask for the same share it.

    Parameters
    ----------
    name : str
        As engines know it: ``python:3.12-slim``, ``registry:5000/team/image:tag``. Empty: no image, the agent's own
        file system.
    volumes : tuple of str
        Directories of the agent that are found under the same path in the container.
    """

    name: str = ""
    volumes: tuple[str, ...] = ()


NO_IMAGE = ContainerImage()


def is_image_name(text: object) -> bool:
    """Return whether a text can name an image."""
    return isinstance(text, str) and len(text) <= LONGEST and NAME.fullmatch(text) is not None

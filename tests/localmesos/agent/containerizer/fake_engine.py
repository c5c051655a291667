"""A program that answers like podman and runs containers without any isolation: for the way to and from an engine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

#: The image that it has; it can pull no other.
IMAGE = "localhost/have:1"

SCRIPT = """\
#!/bin/sh
echo "$$ $*" >> {folder}/log
case "$1" in
  info) echo '{{"host": {{"cgroupControllers": ["cpu", "memory"], "security": {{"rootless": false}}}}}}' ;;
  image) [ "$3" = {image} ] ;;
  pull) echo "Trying to pull $2..." >&2; echo "Error: reading manifest: manifest unknown" >&2; exit 125 ;;
  inspect) cat {folder}/oom-killed 2>/dev/null || echo false ;;
  run)
    shift
    while [ "$1" != --entrypoint ]; do
      case "$1" in
        --volume) case "$2" in *:/mnt/mesos/sandbox:rw) sandbox="${{2%%:*}}" ;; esac ;;
        --name) echo $$ > {folder}/"$2" ;;
      esac
      shift
    done
    cd "$sandbox" || exit 125
    # What a container has of its own.
    export MESOS_SANDBOX="$sandbox" PATH={path} T2_FAKE_IMAGE="$3"
    shift 3
    exec /bin/sh "$@"
    ;;
  rm) for name in "$@"; do kill -9 "$(cat {folder}/"$name" 2>/dev/null)" 2>/dev/null; rm -f {folder}/"$name"; done ;;
esac
"""


def make(folder: Path) -> Path:
    """Write it as `podman` into a folder for PATH; `log` beside it has a line for each call."""
    folder.mkdir(parents=True, exist_ok=True)
    bins = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    program = folder / "podman"
    program.write_text(
        SCRIPT.format(folder=shlex.quote(str(folder)), image=shlex.quote(IMAGE), path=shlex.quote(bins))
    )
    program.chmod(0o755)
    return program


def calls(folder: Path, verb: str) -> list[str]:
    """Return what it was called with, of one verb."""
    lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return [words for _, _, words in (line.partition(" ") for line in lines) if words.split()[0] == verb]

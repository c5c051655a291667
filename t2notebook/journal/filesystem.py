"""File systems of journals: SQLite's write-ahead log needs memory that all its readers share, which no network
file system has (https://sqlite.org/wal.html, "Disadvantages").
"""

from __future__ import annotations

import os
import re
from pathlib import Path

#: Types as the mount table has them; those of FUSE after their dot.
_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|afs|9p|virtiofs|ceph|lustre|gpfs|beegfs|pvfs2|orangefs|panfs|wekafs|glusterfs|"
    r"ncpfs|webdav|afpfs|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|davfs|juicefs|ceph-fuse|beegfs|moosefs|mfs|objectivefs))"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")
MOUNTS = Path("/proc/self/mountinfo")


def is_on_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a path lies on a file system that another host may serve; False where that cannot be told.

    Parameters
    ----------
    path : Path
        Exists.
    mounts : Path
        The mount table, as Linux's ``/proc/self/mountinfo`` has it (proc(5)).
    """
    return _NETWORK.fullmatch(filesystem_of(path, mounts)) is not None


def filesystem_of(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that a path lies on; empty where that cannot be told."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    found, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 7 or "-" not in fields[6:]:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # The later of two mounts on one point hides the first.
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(found):
            found, kind = point, fields[fields.index("-", 6) + 1]
    return kind

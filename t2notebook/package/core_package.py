"""The core package: what agents need of t2notebook, as one reproducible zip application."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import marshal
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..model.container_image import SANDBOX

#: Everything that goes in, as (name in the archive, source). Packages are taken whole, without their tests.
_PACKAGES = (
    "t2notebook/model",
    "t2notebook/protocol",
    "t2notebook/protocol/reducers",
    "t2notebook/worker",
    "t2notebook/worker/executor",
    "t2notebook/worker/process",
    "t2notebook/dataflow/agent",
)
#: Modules of a job master that runs on the cluster: what it needs, and agents' Pythons have.
_JOB_MASTER = (
    "__init__",
    "actions",
    "barriers",
    "channel_server",
    "debugger",
    "happenings",
    "hosted",
    "job_feed",
    "job_master",
    "joining",
    "mailboxes",
    "members",
    "runner",
    "signed_log",
)
_INDEX = "t2-core.json"
_DATE = (1980, 1, 1, 0, 0, 0)
# Plain enough for any Python that an agent may have as "python".
_MAIN = """\
import os, sys
if sys.version_info[:2] != {version}:
    where = "image" if os.environ.get("MESOS_SANDBOX") == {sandbox!r} else "agent"
    sys.stderr.write(
        "t2notebook: this job was submitted by Python {python}, but this %s starts Python %d.%d (%s); "
        "use an %s with Python {python}, or run the notebook under Python %d.%d\\n"
        % ((where,) + sys.version_info[:2] + (sys.executable, where) + sys.version_info[:2])
    )
    sys.exit(2)
if __name__ == "__main__":
    from t2notebook.worker.executor.executor import main
    main()
"""


@dataclass(frozen=True)
class CorePackage:
    """A core package on this machine's disk.

    Parameters
    ----------
    path : Path
        ``t2-core-<first 16 hex digits of its digest>.pyz``.
    digest : str
        Hex sha256 of the file.
    size : int
        Bytes.
    python : str
        ``major.minor`` of the only Python that runs it.
    """

    path: Path
    digest: str
    size: int
    python: str


def build_core(directory: Path) -> CorePackage:
    """Return this installation's core package, made in `directory` if it is not there yet.

    The same sources give the same bytes. Several processes may call this at once.

    Parameters
    ----------
    directory : Path
        Is made if need be.

    Raises
    ------
    OSError
        When `directory` cannot be written.
    """
    inputs = sorted(_inputs())
    stamp = _stamp(inputs)
    index = directory / _INDEX
    if (core := _known(index, stamp)) is not None:
        return core
    data = _zip(inputs)
    digest = hashlib.sha256(data).hexdigest()
    core = CorePackage(directory / f"t2-core-{digest[:16]}.pyz", digest, len(data), _python())
    directory.mkdir(parents=True, exist_ok=True)
    _write(core.path, data)
    _write(index, json.dumps({"stamp": stamp, **asdict(core), "path": core.path.name}).encode())
    return core


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _inputs() -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, source file)."""
    ours = Path(__file__).resolve().parents[1]
    for name in ("__init__.py", "_version.py", "dataflow/__init__.py"):
        yield f"t2notebook/{name}", ours / name
    for module in _JOB_MASTER:
        yield f"t2notebook/jobmaster/{module}.py", ours / "jobmaster" / f"{module}.py"
    roots = [(name, ours.parent / name) for name in _PACKAGES]
    spec = importlib.util.find_spec("cloudpickle")
    assert spec is not None and spec.origin is not None
    roots.append(("cloudpickle", Path(spec.origin).parent))
    for name, root in roots:
        # os.scandir instead of Path.glob: this runs on every submit.
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    yield f"{name}/{entry.name}", Path(entry.path)


def _stamp(inputs: list[tuple[str, Path]]) -> str:
    """Return what changes whenever a source, this module or the Python does."""
    facts: list[object] = [sys.version, _MAIN]
    for name, path in [*inputs, ("", Path(__file__))]:
        status = os.stat(path)
        facts.append((name, status.st_mtime_ns, status.st_size, status.st_ino))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _known(index: Path, stamp: str) -> CorePackage | None:
    try:
        record = json.loads(index.read_bytes())
        if record.pop("stamp") != stamp:
            return None
        core = CorePackage(**{**record, "path": index.parent / record["path"]})
        return core if core.path.stat().st_size == core.size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _zip(inputs: list[tuple[str, Path]]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        main = _MAIN.format(version=tuple(sys.version_info[:2]), python=_python(), sandbox=SANDBOX)
        members = {"__main__.py": main.encode()}
        members |= {f"{name}c": _compile(name, path) for name, path in inputs}
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])
    return target.getvalue()


def _compile(name: str, path: Path) -> bytes:
    """Return a .pyc that is never compared with a source (PEP 552, unchecked), without docstrings."""
    source = path.read_bytes()
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    try:
        # Version 2 writes no back references; which ones the later versions write depends on the
        # interpreter's reference counts, so the bytes would not be the same every time.
        body = marshal.dumps(code, 2)
    except ValueError:  # from Python 3.14 on, a constant slice needs version 5
        body = marshal.dumps(code)
    flags = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body


def _write(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

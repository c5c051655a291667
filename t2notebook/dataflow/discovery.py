"""Discovery of clusters by Dask's own tools: dask-labextension's factory and `distributed`'s security loader.

``etc/dask/t2notebook.yaml``, which the package installs under ``sys.prefix``, names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def security_loader(info: Mapping[str, Any]) -> Any:
    """Return the certificates for a scheduler's address; None if it is none of this user's clusters on this machine.

    `distributed.Client` asks when it is given an address and no security: so ``Client("tls://...")``, which Dask's side
    bar puts into notebooks, connects.

    Parameters
    ----------
    info : mapping
        ``address``.
    """
    address = str(info.get("address") or "")
    if not address.startswith("tls://"):
        return None
    # What every client of Dask in this environment imports is no more than this.
    from . import scheduler_link
    from .agent.tls import MemorySecurity

    for path, told in scheduler_link.living():
        if told["address"] == address:
            keys = scheduler_link.ask(path, "keys").get("keys")
            return MemorySecurity.of(keys) if keys else None
    return None

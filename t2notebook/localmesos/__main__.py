"""`python -m t2notebook.localmesos`: the supervisor."""

from __future__ import annotations

import sys

from .cluster.supervisor import main

if __name__ == "__main__":
    sys.exit(main())

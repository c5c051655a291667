"""IPython's `display` in workers, where no shell runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
from t2notebook.worker.process.display import serve_ipython
serve_ipython()
from IPython.display import HTML, display, update_display
handle = display("first", display_id=True)
handle.update("second")
update_display("third", display_id=handle.display_id)
assert display("fourth") is None
import IPython
assert IPython.display.display is display
"""


@pytest.mark.parametrize("first", ["", "import IPython.display"], ids=["imported-later", "imported-before"])
def test_ipythons_display_prints_and_gives_a_handle(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", first + CODE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("first\nsecond\nthird\nfourth\n", "")

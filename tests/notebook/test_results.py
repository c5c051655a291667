"""A job's results at the end of a cell: figures, frames and rich results show as what they are."""

from __future__ import annotations

from typing import Any

SETUP = """
import pandas as pd
import matplotlib.pyplot as plt
import t2notebook
t2notebook.submit  # as any use of it
from t2notebook.client.results import shown
plt.close(plt.figure())  # from the next cell on, figures are pictures
"""


def test_rich_results_are_shown_one_by_one_and_plain_ones_are_a_list(kernel_with: Any) -> None:
    with kernel_with() as kernel:
        assert kernel.run(SETUP).error == ""
        cell = kernel.run("shown([pd.DataFrame({'column': [1]}), 5, plt.plot([1, 2])[0].figure])")
        assert cell.error == ""
        kinds = [sorted(message["data"]) for message in cell.displays]
        assert kinds[0] == ["text/html", "text/plain"]
        assert kinds[1] == ["text/plain"]
        assert "image/png" in kinds[2]
        assert len(kinds) == 3, "the figure is not shown once more at the end of the cell"
        plain = kernel.run("shown([1, 2])")
        assert plain.text == "" and [one["data"] for one in plain.displays] == [{"text/plain": "[1, 2]"}]

"""Results as a list that a notebook shows one by one."""

from __future__ import annotations

import copy
import pickle

import pandas as pd

from t2notebook.client.results import Results, shown


def test_plain_results_are_a_plain_list() -> None:
    assert type(shown([1, "a", None, {"b": 2}])) is list


def test_rich_results_are_a_list_that_travels_as_one() -> None:
    class Rich:
        def _repr_html_(self) -> str:
            return "x"

    found = shown(iter([1, pd.DataFrame({"a": [1]})]))
    assert isinstance(found, Results) and isinstance(found, list) and len(found) == 2
    assert isinstance(shown([Rich()]), Results)
    assert type(pickle.loads(pickle.dumps(found))) is list
    assert type(copy.copy(found)) is list
    assert found == list(found)


def test_figures_are_rich() -> None:
    from matplotlib.figure import Figure

    assert isinstance(shown([Figure()]), Results)

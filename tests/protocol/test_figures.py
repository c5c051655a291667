"""Figures of a call or a result are nothing of pyplot's afterwards."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from t2notebook.protocol import figures


def test_figures_are_let_go_and_those_that_were_there_stay() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    mine = pyplot.figure()
    pickled = pickle.dumps(mine)
    try:
        with figures.LetGo():
            made = pyplot.figure()
            back = pickle.loads(pickled)
            assert len(pyplot.get_fignums()) == 3
        assert pyplot.get_fignums() == [mine.number]
        with pytest.raises(ZeroDivisionError), figures.LetGo():
            pyplot.figure()
            raise ZeroDivisionError
        assert pyplot.get_fignums() == [mine.number]
        for figure in (made, back):
            figure.add_subplot().plot([1, 2])
            pickle.loads(pickle.dumps(figure))
            assert pyplot.get_fignums() == [mine.number], "it is nothing of pyplot's any more"
    finally:
        pyplot.close(mine)


def test_it_imports_nothing() -> None:
    code = (
        "import sys\nfrom t2notebook.protocol import figures\nwith figures.LetGo(): pass\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

"""How tables of jobs, logs and stacks stand in a notebook."""

from __future__ import annotations

import pickle

import pandas as pd
from IPython.core.formatters import HTMLFormatter
from IPython.lib.pretty import pretty
from t2fakes import Job

from t2notebook.client.shown_text import ShownText
from t2notebook.frames import tasks_frame
from t2notebook.notebook.rendering.frames import install, uninstall


def tasks() -> pd.DataFrame:
    job = Job("pi", 2)
    job.start()
    return tasks_frame(job.view())


def test_rows_of_our_tables_and_of_parts_of_them_are_one_line() -> None:
    """The ids at the right were broken at each hyphen, so that a row was five lines high."""
    formatter = HTMLFormatter()
    install(formatter)
    frame = tasks()
    for part in (frame, frame[["worker_id", "agent"]], frame.query("worker_id == 1")):
        html = formatter(part)
        assert html.startswith('<div class="t2-frame"><style>') and "white-space: nowrap" in html
        assert part._repr_html_() in html
    other = pd.DataFrame({"a": [1]})
    assert formatter(other) == other._repr_html_()
    with pd.option_context("display.notebook_repr_html", False):
        assert formatter(frame) is None
    uninstall(formatter)
    assert formatter(frame) == frame._repr_html_()


def test_who_shows_all_frames_in_a_way_of_their_own_keeps_it() -> None:
    formatter = HTMLFormatter()
    formatter.for_type(pd.DataFrame, lambda frame: "theirs")
    install(formatter)
    assert formatter(tasks()) == "theirs"
    uninstall(formatter)
    assert formatter(tasks()) == "theirs"


def test_a_text_is_shown_line_by_line_where_it_is_alone() -> None:
    """`job.logs()` stood in a cell as one string with quotes and backslashes."""
    text = ShownText("one\n'two'\n")
    assert pretty(text) == "one\n'two'"
    assert pretty([text, 1]) == r"""["one\n'two'\n", 1]"""
    assert text == "one\n'two'\n" and repr(text) == repr(str(text)) and text.splitlines() == ["one", "'two'"]
    assert pickle.loads(pickle.dumps(text)) == text
    assert pretty(ShownText("")) == ""

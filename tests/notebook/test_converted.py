"""A notebook that was saved while a job ran, on pages without a kernel: nbconvert's (nbviewer uses it), GitHub's."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from t2fakes import Job

from t2notebook.notebook.display import JOB, WIDGET, bundle
from t2notebook.views.snapshot import snapshot

nbconvert = pytest.importorskip("nbconvert")

WIDGET_OF = {"version_major": 2, "version_minor": 0, "model_id": "5c1e"}


class Texts(HTMLParser):
    """What a page shows of a document: its texts, without those of styles and scripts."""

    def __init__(self, html):
        super().__init__()
        self.texts, self._hidden = [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self._hidden = tag in ("style", "script", "title")

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden and data.strip():
            self.texts.append(data.strip().replace("\xa0", " "))


@pytest.fixture(scope="module")
def notebook():
    job = Job("pi", 3)
    job.start()
    job.progress(0, 0.4, "epoch 3")
    job.status(1, "FAILED", message="boom & <b>bang</b>")
    output = {"lines": [[0, "stdout", "hello"]], "current": []}
    record = snapshot(job.view(), failures=[(1, "traceback", "ValueError: <boom>")], output=output)
    cell = nbformat.v4.new_code_cell("%%twister2 submit")
    live = {WIDGET: WIDGET_OF, JOB: {"job_id": job.job_id, "beside": "t2-1"}}
    cell.outputs = [
        nbformat.v4.new_output("display_data", data) for data in (live, bundle(record, beside="t2-1"))
    ]
    return nbformat.v4.new_notebook(cells=[cell])


def check(html):
    texts = Texts(html).texts
    words = " ".join(texts)
    assert words.count("epoch 3") == 1 and "Loading widget" not in words and "5c1e" not in words
    begin = words.index("pi ")
    for text in (
        "2 running, 1 failed",
        "as of ",
        "Not live:",
        "this is how it was; go on with %twister2 attach me-pi-",
        "Traceback of worker 1",
        "ValueError: <boom>",
        "Worker",
        "boom & <b>bang</b>",
        "hello",
    ):
        begin = words.index(text, begin)


@pytest.mark.filterwarnings("ignore:Your element with mimetype:UserWarning")
@pytest.mark.parametrize(("template", "sanitize"), [("lab", False), ("classic", False), ("basic", True)])
def test_nbconvert_and_nbviewer_show_the_last_state(notebook, template, sanitize):
    exporter = nbconvert.HTMLExporter(template_name=template, sanitize_html=sanitize)
    html, _ = exporter.from_notebook_node(notebook)
    check(html)


def test_github_shows_it_without_any_style(notebook):
    html = notebook.cells[0].outputs[1]["data"]["text/html"]
    html = re.sub(r"<style>.*?</style>", "", html)
    check(re.sub(r' (?:style|class)="[^"]*"', "", html))


def test_text_is_there_where_html_is_not(notebook):
    text = notebook.cells[0].outputs[1]["data"]["text/plain"]
    assert text.startswith("pi: ") and "epoch" not in text and "boom & <b>bang</b>" in text

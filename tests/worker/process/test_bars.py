"""tqdm's bars as a worker's progress, in processes of their own: nothing of them is in the output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from t2notebook.worker.process.bars import become_progress
told = []
become_progress(lambda fraction, text: told.append((fraction, text)))
assert "tqdm" not in sys.modules
{code}
sys.stderr.flush()
print(json.dumps(told))
"""


def run(code: str) -> tuple[list[tuple[float | None, str]], str, str]:
    """Return what was told, and what else was written to stdout and stderr."""
    answer = subprocess.run(
        [sys.executable, "-c", CODE.format(code=code)], capture_output=True, text=True, check=True, timeout=60
    )
    *lines, told = answer.stdout.splitlines(keepends=True)
    return [tuple(each) for each in json.loads(told)], "".join(lines), answer.stderr


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("from tqdm import tqdm\nfor _ in tqdm(range(50), mininterval=0): pass", (1.0, "50/50")),
        ("from tqdm.auto import tqdm\nfor _ in tqdm(range(50), desc='rows'): pass", (1.0, "rows 50/50")),
        ("from tqdm.auto import trange\nfor _ in trange(7, disable=None): pass", (1.0, "7/7")),
        (
            "import sys\nfrom tqdm import tqdm\nfor _ in tqdm(range(5), 'a', None, False, sys.stdout): pass",
            (1.0, "a 5/5"),
        ),
        (
            "from tqdm.contrib.concurrent import thread_map\nthread_map(abs, range(30), max_workers=2)",
            (1.0, "30/30"),
        ),
        ("from tqdm import tqdm\nfor _ in tqdm(iter('abc')): pass", (None, "3 it")),
        (
            "from tqdm.notebook import tqdm\nfor _ in tqdm(range(5), display=True, desc='a'): pass",
            (1.0, "a 5/5"),
        ),
        ("from tqdm.notebook import trange\nfor _ in trange(5, colour='green'): pass", (1.0, "5/5")),
        ("from tqdm.rich import tqdm\nfor _ in tqdm(range(5), options={}): pass", (1.0, "5/5")),
        ("from tqdm.rich import trange\nfor _ in trange(5): pass", (1.0, "5/5")),
        ("import tqdm\nfor _ in tqdm.tqdm_notebook(range(5)): pass", (1.0, "5/5")),
    ],
)
def test_a_bar_is_progress_and_writes_nothing(code: str, last: tuple[float | None, str]) -> None:
    if "tqdm.rich" in code:
        pytest.importorskip("rich")
    told, out, err = run(code)
    assert told[-1] == last
    assert (out, err) == ("", "")


def test_nested_bars_tell_the_outer_one_first() -> None:
    told, out, err = run(
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(4), desc='outer', mininterval=0):\n"
        "    for _ in tqdm(range(3), desc='inner', leave=False, mininterval=0): pass"
    )
    assert (0.25, "outer 1/4 · inner 2/3") in told
    assert told[-1] == (1.0, "outer 4/4")
    assert (out, err) == ("", "")


def test_what_tqdm_writes_besides_is_written_plainly_and_a_file_of_ones_own_is_left_alone() -> None:
    told, out, _ = run(
        "import io\nfrom tqdm import tqdm\nown = io.StringIO()\n"
        "for _ in tqdm(range(3)): tqdm.write('a line')\n"
        "for _ in tqdm(range(3), file=own): pass\nassert '3/3' in own.getvalue()"
    )
    assert out == "a line\n" * 3
    assert told[-1] == (1.0, "3/3")

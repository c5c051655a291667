"""Files beside a notebook, and its setup, from a real kernel to real workers."""

import pytest

SUBMIT = "%%twister2 submit --ram 64 --wait"


@pytest.fixture
def beside(tmp_path):
    folder = tmp_path / "notebooks"
    for name, text in {
        "helper.py": "K = 1\ndef read(): return open('data.csv').read()\n",
        "lazy.py": "V = 7\n",
        "pack/__init__.py": "from importlib.resources import files\n"
        "def text(): return (files(__name__) / 'a.txt').read_text()\n",
        "pack/a.txt": "of a package",
        "data.csv": "a\n1\n",
        "inner/x.txt": "x",
        "../src/shared.py": "W = 8\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def real(kernel_with, beside, tmp_path):
    with kernel_with(
        JUPYTER_DATA_DIR=str(tmp_path / "data"),
        JUPYTER_RUNTIME_DIR=str(tmp_path / "run"),
        JUPYTER_CONFIG_DIR=str(tmp_path / "config"),
        JPY_SESSION_NAME=str(beside / "a.ipynb"),
    ) as kernel:
        kernel.run(f"%cd -q {beside}")
        assert kernel.run("import sys, t2notebook as t2\n%load_ext t2notebook").error == ""
        try:
            yield kernel
        finally:
            kernel.run("t2.shutdown()")
            kernel.run("%twister2 cluster stop")


def test_what_lies_beside_the_notebook_is_found_wherever_the_user_goes(real, beside):
    real.run("import helper\nsys.path.append('../src')\nimport shared")
    real.run("%cd -q inner")
    cell = f"{SUBMIT}\nimport lazy, pack\nhelper.K, lazy.V, shared.W, pack.text(), open('data.csv').read()"
    ran = real.run(cell.replace("--wait", "--wait --file data.csv"), timeout=60)
    assert ran.error == ""
    assert ran.displays[-1]["data"]["text/plain"] == "[(1, 7, 8, 'of a package', 'a\\n1\\n')]"

    ran = real.run(f"{SUBMIT}\nhelper.read()", timeout=60)
    hint = "`data.csv` lies beside the notebook: `--file data.csv` takes it along"
    assert ran.error.rstrip().endswith(hint) and 'File "helper.py", line 2, in read' in ran.error
    assert hint in real.run("print(t2.jobs()['message'].iloc[-1])").text

    real.run("helper.K = 5")
    ran = real.run(f"{SUBMIT}\nhelper.K", timeout=60)
    assert "Note: helper.K is 5 here and 1 in the file: workers have what helper.py says" in ran.text
    ran = real.run("%%twister2 submit --dry-run --file ../data.csv\n1")
    assert ran.error.startswith(
        "SubmitError: cannot take along ../data.csv: it lies outside of the notebook's"
    )
    ran = real.run("%%twister2 submit --dry-run --file data.csv\n1")
    assert "Files in each worker's current directory:\n  data.csv  4 B" in ran.text


def test_a_setup_runs_first_until_it_is_taken_away(real):
    assert real.run("%twister2 setup").text == "This notebook's jobs have no setup.\n"
    setup = "%%twister2 setup\nimport decimal, helper\ndecimal.getcontext().prec = 4\nhelper.K = 9\n{}"
    told = "This cell will run first in every worker of this notebook's later jobs"
    assert real.run(setup.format("limit = 1")).text == f"{told}.\n"
    assert real.run(setup.format("limit = 2")).text == f"{told}, in the place of the earlier setup.\n"
    assert real.run("%twister2 setup").text.rstrip().endswith("helper.K = 9\nlimit = 2")
    cell = f"{SUBMIT}\nimport decimal, helper\nstr(decimal.Decimal(1) / 3), helper.K, limit"
    ran = real.run(cell, timeout=60)
    assert ran.displays[-1]["data"]["text/plain"] == "[('0.3333', 9, 2)]"

    assert real.run(setup.format("limit = 1 / 0")).error == ""
    ran = real.run(cell, timeout=60)
    assert 'File "<cell setup>", line 4' in ran.error and "limit = 1 / 0" in ran.error
    assert ran.error.rstrip().endswith("runs first in every worker: %%twister2 setup changes it")

    for wrong, told in {
        "%%twister2 setup\nimport threading\nlock = threading.Lock()\n%time": "line 3 of the cell is no Python",
        "%%twister2 setup\n": "the cell is empty",
        "%%twister2 setup --clear\n1": "takes no cell",
        "%%twister2 setup\nfor": "SyntaxError",
    }.items():
        ran = real.run(wrong)
        assert told in ran.error, (wrong, ran.error)
    real.run("import threading\nlock = threading.Lock()")
    ran = real.run("%%twister2 setup\nprint(lock)")
    assert (
        ran.error.startswith("PackageError: setup: the notebook's variable 'lock'") and "\n" not in ran.error
    )

    assert real.run("%twister2 setup --clear").text == "This notebook's jobs have no setup any more.\n"
    ran = real.run(cell.replace(", limit", ""), timeout=60)
    assert ran.displays[-1]["data"]["text/plain"] == "[('0.3333333333333333333333333333', 1)]"
    real.run("@t2.setup\ndef prepare(env):\n    global limit\n    limit = env.worker_id + 20")
    ran = real.run(f"{SUBMIT}\nlimit", timeout=60)
    assert ran.displays[-1]["data"]["text/plain"] == "[20]"

"""The image that mybinder.org would build: repo2docker prints the steps, which are replayed on the local base.

repo2docker itself builds with Docker only, on a base that cannot be pulled everywhere. What comes before the steps for
this repository (Ubuntu, a user, a conda environment) is stood in for by Debian's Python in a venv of the same place.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.conftest import BASE, Engine, pip_secrets
from tests.packaging.conftest import copy_checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REPO2DOCKER = "jupyter-repo2docker==2026.4.0"

#: Where its own steps end and those for this repository begin; and where they end.
BEGIN, END = "# Allow target path repo is cloned to be configurable\n", "# Add entrypoint\n"

STAND_IN = """\
FROM {base}
ENV NB_USER=jovyan NB_UID=1000
RUN useradd --create-home --uid 1000 jovyan
ENV USER=jovyan HOME=/home/jovyan
ENV KERNEL_PYTHON_PREFIX=/srv/conda/envs/notebook
ENV PATH=/srv/conda/envs/notebook/bin:$PATH
RUN python3 -m venv /srv/conda/envs/notebook && chown -R jovyan: /srv/conda
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("context") / "src")


@pytest.fixture(scope="module")
def printed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what repo2docker prints, for the user that mybinder.org has."""
    venv = tmp_path_factory.mktemp("repo2docker") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/python", "-m", "pip", "install", "--quiet", REPO2DOCKER], check=True)
    command = [
        venv / "bin/jupyter-repo2docker",
        "--no-build",
        "--debug",
        "--user-id=1000",
        "--user-name=jovyan",
    ]
    done = subprocess.run([*command, checkout], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_it_finds_the_python_the_requirements_and_both_scripts(printed: str) -> None:
    assert "Building conda environment for python=3.12" in printed
    steps = printed[printed.index(BEGIN) : printed.index(END)]
    order = [
        'RUN ${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"',
        "COPY --chown=1000:1000 src/ ${REPO_DIR}/",
        "USER ${NB_USER}\n\n# Make sure that postBuild",
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    places = [steps.index(step) for step in order]
    assert places == sorted(places)
    # Everything of ours is done by the visitor's user: nothing of it needs root.
    assert [line for line in steps.splitlines() if line.startswith("USER ")][-1] == "USER ${NB_USER}"


def test_its_steps_make_an_image_in_which_the_examples_run(
    engine: Engine, printed: str, checkout: Path
) -> None:
    steps = printed[printed.index(BEGIN) : printed.index(END)]
    context = checkout.parent
    secrets = pip_secrets(context)
    # What pip is told here stands in no step of repo2docker's; of a mount nothing stays.
    shown = {
        word.partition(",src=")[0].removeprefix("id="): word.partition(",src=")[2] for word in secrets[1::2]
    }
    told = {"pip.conf": "PIP_CONFIG_FILE", "pip.pem": "PIP_CERT"}
    mounts = "".join(f"--mount=type=secret,id={name} " for name in shown)
    exports = "".join(f"export {told[name]}=/run/secrets/{name}; " for name in shown)
    for name in shown:
        mounts = mounts.replace(f"id={name} ", f"id={name},mode=0444 ")
    steps = re.sub(
        r"^RUN (?=\$\{KERNEL|\./binder/postBuild)", f"RUN {mounts}{exports}", steps, flags=re.MULTILINE
    )
    (context / "Containerfile").write_text(STAND_IN.format(base=BASE) + steps)
    image = "localhost/t2-binder:latest"
    command = [
        "podman",
        "build",
        "--network=host",
        *secrets,
        "-t",
        image,
        "-f",
        context / "Containerfile",
        context,
    ]
    engine.run(*command, timeout=1200)
    try:
        start = ["podman", "run", "--rm", image, "binder/start"]
        assert engine.run(*start, "id", "-un").strip() == "jovyan"
        assert "jupyterlab" in engine.run(*start, "jupyter", "--version")
        said = engine.run(*start, "python", "examples/run_demo.py", timeout=300)
        assert "worker 3: 70! = 1.198e+100" in said
        # The most demanding of them: Dask, its libraries and pictures.
        code = "import nbformat, sys; sys.path.insert(0, 'examples'); from run_and_save import run; "
        code += "run(nbformat.read('examples/dask_on_mesos.ipynb', as_version=4))"
        engine.run(*start, "python", "-c", code, timeout=300)
    finally:
        engine.run("podman", "rmi", "--force", image, check=False)

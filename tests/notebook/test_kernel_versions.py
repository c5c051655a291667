"""Kernels of other versions of ipykernel than the locked one: the tests of a real kernel, and the live view."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
#: Each has other threads, contexts and parents of messages: the last of 6, and 7 before threads had parents.
VERSIONS = ("6.31.0", "7.1.0")


@pytest.fixture(scope="module", params=VERSIONS)
def other(request, tmp_path_factory):
    """A folder with an ipykernel, to stand first on a kernel's path."""
    folder = tmp_path_factory.mktemp("ipykernel")
    wanted = f"ipykernel=={request.param}"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, wanted], check=True
    )
    return folder


def run(other, *tests):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *map(str, tests)],
        env={**os.environ, "T2_TEST_KERNEL_PATH": str(other)},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_the_tests_of_a_real_kernel(other):
    assert "passed" in run(other, HERE / "test_kernel.py")


def test_the_live_view_in_jupyterlab(other):
    run(other, f"{HERE / 'test_browser.py'}::test_the_live_view_in_jupyterlab")

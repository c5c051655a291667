import os
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"
sys.path.insert(0, str(HELPERS))


@pytest.fixture
def fake_client(monkeypatch):
    """`t2notebook.client` replaced by one whose jobs go as a script says."""
    import t2fakes

    return t2fakes.install(monkeypatch.setitem, monkeypatch.setattr)


@pytest.fixture
def shell(fake_client, tmp_path, monkeypatch):
    """A plain IPython shell, not a kernel, with the extension loaded."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from t2notebook.notebook import load_ipython_extension, unload_ipython_extension
    from t2notebook.notebook.magics import cell_jobs

    monkeypatch.setattr(cell_jobs, "_jobs", {})
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    load_ipython_extension(ip)
    yield ip
    unload_ipython_extension(ip)
    InteractiveShell.clear_instance()


@pytest.fixture
def kernel_with(tmp_path):
    """Start a real kernel process with more environment variables."""
    from t2kernel import Kernel, kernel_path

    path = kernel_path()
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": path}
    return lambda **more: Kernel({**environment, **more})


@pytest.fixture
def kernel(kernel_with):
    """A real kernel process with the fake client and the extension loaded."""
    with kernel_with() as running:
        setup = "import time, t2fakes\nclient = t2fakes.install()\n%load_ext t2notebook"
        assert running.run(setup).error == ""
        yield running

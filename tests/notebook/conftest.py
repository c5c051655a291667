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
def shell():
    """A plain IPython shell, not a kernel, with the extension loaded; its variables are empty."""
    from IPython.core.interactiveshell import InteractiveShell

    from t2notebook.notebook import load_ipython_extension, unload_ipython_extension

    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    ip.history_manager.enabled = False
    load_ipython_extension(ip)
    yield ip
    unload_ipython_extension(ip)
    ip.history_manager.end_session()
    if (thread := getattr(ip.history_manager, "save_thread", None)) is not None:
        thread.stop()
    InteractiveShell.clear_instance()

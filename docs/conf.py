"""Sphinx's settings: ``make docs``."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from reference import write  # noqa: E402

from t2notebook import __version__  # noqa: E402

write(HERE / "_generated")

project = "t2notebook"
author = "The t2notebook developers"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_ext", "_generated/*.md"]
html_theme = "furo"
html_title = "t2notebook"
html_show_copyright = False
language = "en"

# Notebooks are shown as they are saved: the tests run them.
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"

#: Pages that lie elsewhere in the repository, by the page here that includes each.
ELSEWHERE = {
    "../benchmarks/README.md": "figures.md",
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "developers.md",
    "../README.md": "index.md",
    "../RELEASING.md": "releasing.md",
    "../SECURITY.md": "security.md",
}


def _lead_to_pages_here(app, docname, source):  # type: ignore[no-untyped-def]
    """Lead links between the repository's pages to the pages of the documentation."""
    for path, page in ELSEWHERE.items():
        source[0] = source[0].replace(f"]({path})", f"]({page})")
    source[0] = source[0].replace("](../examples/", "](_generated/examples/")


def _list_the_rest(app, docname, source):  # type: ignore[no-untyped-def]
    """Add to the index's last list what stands in no other: a new page needs no change there."""
    if docname == "index":
        # In the lists alone: the prose has words that are pages' names, too.
        known = {
            name
            for block in re.findall(r"```{toctree}(.*?)```", source[0], re.DOTALL)
            for name in block.split()
        }
        pages = {name for name in app.env.found_docs if "/" not in name} - known - {"index"}
        if pages:
            listed = "\n".join(sorted(pages))
            source[0] += f"\n```{{toctree}}\n:caption: More\n:maxdepth: 1\n\n{listed}\n```\n"


def setup(app):  # type: ignore[no-untyped-def]
    """Have the index list every page."""
    app.connect("source-read", _lead_to_pages_here)
    app.connect("source-read", _list_the_rest)

"""The ES modules of all views, as files for a page that can import them, or as one module for anywidget.

anywidget wants one module a widget: ours are joined in the order in which they need each other. Only what they use is
understood: ``import { a, b } from "./x.js";`` without other names for them, and ``export`` before a declaration. Names
of declarations at the top of modules must differ.
"""

from __future__ import annotations

import re
from importlib.resources import files

#: Folder of the modules and their styles.
STATIC = files(__package__) / "static"

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
#: Comments that have their lines to themselves: nobody reads them in a page, and each widget is sent all of its module.
_COMMENT = re.compile(r"^ *(?://[^\n]*|/\*\*(?:(?!\*/).)*\*/)\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const|let)\b)", re.MULTILINE)


def text_of(name: str) -> str:
    """Return a module or a style sheet."""
    return (STATIC / name).read_text(encoding="utf-8")


def bundled(name: str) -> str:
    """Return the module `name` with all that it imports; it exports its default only."""
    parts: dict[str, str] = {}
    _add(name, parts)
    return "\n".join(parts.values())


def _add(name: str, parts: dict[str, str]) -> None:
    if name in parts:
        return
    text = text_of(name)
    for needed in _IMPORT.findall(text):
        _add(needed, parts)
    parts[name] = f"// {name}\n{_EXPORT.sub('', _COMMENT.sub('', _IMPORT.sub('', text))).lstrip()}"

"""``%config T2Notebook``: shows the settings, and ``%config T2Notebook.NAME = VALUE`` sets one, as `configure` does."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from traitlets import TraitError, TraitType
from traitlets.config import Configurable

from ..config import Config, configure, get_config, help_of_settings
from ..model.errors import Twister2Error


class Setting(TraitType[Any, Any]):
    """A setting as a trait: its value is the one that holds now, wherever it was set."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Return the value that holds now."""
        return getattr(get_config(), str(self.name))

    def validate(self, obj: Any, value: Any) -> Any:
        """Set it; what cannot be is refused with `configure`'s message.

        Raises
        ------
        TraitError
        """
        name = str(self.name)
        try:
            return getattr(configure(**{name: value}), name)
        except Twister2Error as error:
            raise TraitError(str(error)) from None


#: Names of traits by the types of settings; ``%config T2Notebook`` shows them.
_KINDS = {str: "Unicode", int: "Int", float: "Float", bool: "Bool"}


def _settings() -> dict[str, Setting]:
    texts, found = help_of_settings(), {}
    for one in fields(Config):
        kind = type(_KINDS[type(one.default)], (Setting,), {})
        found[one.name] = kind(one.default, help=texts.get(one.name, "")).tag(config=True)
    return found


#: Named after its section in configuration files.
T2Notebook = type(
    "T2Notebook",
    (Configurable,),
    {"__doc__": "Settings of Twister2 jobs; t2notebook.configure(...) sets them as well.", **_settings()},
)

"""``%twister2`` and ``%%twister2``: one magic, a parser of its own for each verb, and Tab completion."""

from .dispatch import documentation, twister2

__all__ = ["documentation", "twister2"]

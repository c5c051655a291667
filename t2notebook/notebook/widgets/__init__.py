"""The widgets, each one ESM and one CSS file beside a Python class; importing this imports ipywidgets."""

from .job_view import JobWidget

__all__ = ["JobWidget"]

"""The notebook's side: magics, the live view of a job, and errors as they are shown there."""

from .extension import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

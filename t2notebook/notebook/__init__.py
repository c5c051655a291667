"""What a person sees in a notebook: the magics, the live view of a job, and how errors read there."""

from .extension import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

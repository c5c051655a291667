"""Third-party code that the build brings (see `hatch_build.py`); only `scheduler/_pymesos.py` loads it."""

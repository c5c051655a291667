"""Third-party code that the build brings (see `hatch_build.py`); only `mesos/_pymesos.py` loads it."""

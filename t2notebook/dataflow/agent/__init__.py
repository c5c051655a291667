"""The agent's side, from the core package: Dask's worker, and the modules that it needs of this package."""

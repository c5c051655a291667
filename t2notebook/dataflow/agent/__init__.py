"""What runs on agents, from the core package: Dask's worker, and what it needs of ours."""

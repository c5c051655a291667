"""Packages for workers: a cell and its variables as a job package, the core package, and their serving."""

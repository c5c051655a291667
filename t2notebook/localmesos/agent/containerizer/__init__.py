"""Containers of the embedded agent: sandboxes, launcher, fetcher, isolation."""

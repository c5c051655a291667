"""Pools of workers that stay: calls, futures, and the executor that is made of them."""

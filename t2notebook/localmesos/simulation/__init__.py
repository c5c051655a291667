"""Simulated agents, for benchmarks and tests of scale."""

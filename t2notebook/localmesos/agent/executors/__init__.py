"""Executors of the embedded agent: custom, command and default."""

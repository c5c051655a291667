"""Checks and health checks of tasks."""

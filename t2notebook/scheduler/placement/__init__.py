"""Placement: which offers hold which workers. Pure."""

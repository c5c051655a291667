"""The embedded cluster: its processes, and who shares it."""

"""The worker's process: what runs in the fork."""

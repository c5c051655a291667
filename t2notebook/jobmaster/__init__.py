"""What workers talk to: the jobs of a session, their results and their progress."""

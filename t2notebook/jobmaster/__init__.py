"""The job master: discovery, barriers and messages of workers, and their results and progress."""

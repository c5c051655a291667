"""An agent's memory: frameworks, executors and tasks, their updates, what of them lies on disk. No I/O."""

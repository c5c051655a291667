"""The embedded master, laid out as Mesos's own ``src/master``."""

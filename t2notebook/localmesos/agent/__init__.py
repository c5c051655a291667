"""The embedded agent, laid out as Mesos's own ``src/slave``."""

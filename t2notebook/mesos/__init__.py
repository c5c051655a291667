"""The Mesos client: driver, calls, detector, credentials, agents' files."""

"""The executor: a Mesos executor that forks a process for each worker."""

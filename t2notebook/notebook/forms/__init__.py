"""The form with which a job's resources are chosen, beside what the cluster has."""

"""What runs on an agent: executor, environment, archives. Standard library, cloudpickle and `model` only."""

"""The agent's side: executor and worker processes. Standard library, cloudpickle, `protocol` and `model` only."""

"""The DOCKER containerizer of the embedded agent, by the command line of podman or docker."""

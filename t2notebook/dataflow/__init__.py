"""Dask on Mesos: `MesosCluster`, and what its workers run (`agent`, the only part that agents have)."""

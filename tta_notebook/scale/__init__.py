"""Many items on many workers: maps over the processes of a cluster."""

from tta_notebook.scale.cluster import Cluster, WorkerStatus

__all__ = ["Cluster", "WorkerStatus"]

"""What a map says of workers that are gone."""

from __future__ import annotations

from tta_notebook.core.errors import WorkerLostError
from tta_notebook.scale.backlog import Item


def lost(workflow: str, item: Item, worker: str) -> WorkerLostError:
    """Return the error of an item that is not begun again.

    Args:
        workflow: the workflow's name.
        item: which.
        worker: the last that was lost with it.
    """
    again = "" if item.attempts == 1 else f", as {item.attempts} workers did"
    return WorkerLostError(
        f"{workflow!r}: item {item.index} has no result: the worker {worker} ended while it worked "
        f"on it{again}. It may have been killed for its memory, or crashed; what its calls to "
        "models may have cost counts as spent. Run that item here to see, or allow more with "
        "Cluster(attempts=…).",
        worker=worker,
        index=item.index,
        attempts=item.attempts,
    )


def deserted(workflow: str, patience_s: float) -> WorkerLostError:
    """Return the error of a map that has no workers any more.

    Args:
        workflow: the workflow's name.
        patience_s: how long none has come.
    """
    return WorkerLostError(
        f"{workflow!r} has no workers any more, and none came within {patience_s:g} s. Look at why "
        "they end (memory, most often), and begin the map again.",
        worker="",
    )

"""The history of runs: records in a SQLite file that can be asked questions."""

from tta_notebook.observability.history.history import History
from tta_notebook.observability.history.records import RecordedEvent, RecordedRun, RecordedSpan

__all__ = ["History", "RecordedEvent", "RecordedRun", "RecordedSpan"]

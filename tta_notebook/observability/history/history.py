"""The history of runs: every run becomes a record that can be asked questions."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, Self

from tta_notebook.core import checked
from tta_notebook.core.errors import StorageError
from tta_notebook.core.events import Event
from tta_notebook.core.feed import RING_EVENTS, Feed
from tta_notebook.core.home import home
from tta_notebook.core.stream import stream
from tta_notebook.observability.history import retention
from tta_notebook.observability.history.questions import Questions
from tta_notebook.observability.history.schema import MIGRATIONS
from tta_notebook.observability.history.times import When, instant_ns, now_ns
from tta_notebook.observability.history.writer import Writer
from tta_notebook.storage.sqlite import Database

_log = logging.getLogger("tta_notebook")

_DAY_NS = 24 * 3_600 * 10**9
# Between two looks for what is too old, in batches of up to 1,000 events.
_BATCHES_BETWEEN_LOOKS = 16


class History(Questions):
    """Keeps every run in a SQLite file, and answers questions about them.

    It is a sink: subscribed between `start()` and `stop()`, or in a `with` block. Other processes
    may read and write the same file meanwhile. When the disk is full or cannot be written, runs go
    on: there is one warning, `dropped` counts what is missing, and writing goes on by itself.

    Args:
        path: the file; by default `history.db` in the user's data folder (`TTA_HOME`).
        retention_days: how long runs are kept; None for ever.
        content: whether short texts of every step's input and result are kept, too.

    Attributes:
        problem: why the last batch could not be written; None when it could.

    >>> import tempfile
    >>> from tta_notebook import LambdaPrimitive
    >>> folder = tempfile.TemporaryDirectory()
    >>> with History(folder.name + "/history.db") as history:
    ...     LambdaPrimitive(len, name="length").run_sync("four")
    4
    >>> [(run.workflow, run.status, len(run.spans)) for run in history.runs()]
    [('length', 'ok', 1)]
    >>> history.df("spans", kind="function")["name"].to_list()
    ['length']
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        retention_days: float | None = 90,
        content: bool = False,
    ) -> None:
        if retention_days is not None:
            checked.number("History", "retention_days", retention_days, least=0)
        self.retention_days = retention_days
        self.content = content
        self.problem: StorageError | None = None
        self._database = Database(
            home() / "history.db" if path is None else path, migrations=MIGRATIONS
        )
        super().__init__(self._database.path)
        self._writer = Writer(self._database, content=content)
        self._feed: Feed | None = None
        self._has_warned = False
        self._lost = 0
        self._batches = 0
        self._written_before_look = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process looks at the same file, and records when it is told to.
        return _copied, (self._database, self.retention_days, self.content)

    def __repr__(self) -> str:
        state = "stopped" if self._feed is None else "recording"
        return f"<History {str(self.path)!r} {state}>"

    # Recording

    def start(self) -> Self:
        """Record from now on, and return the history; nothing is written before a run begins."""
        if self._feed is None:
            self._has_warned = False
            self._feed = stream.subscribe(self, RING_EVENTS, starts="roots", previews=self.content)
        return self

    def stop(self) -> None:
        """Write what is still queued, record nothing more and close the file."""
        feed, self._feed = self._feed, None
        if feed is not None:
            stream.unsubscribe(self)
            self._lost += feed.dropped
        self._writer.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def flush(self) -> None:
        """Write what has happened so far before returning: it survives the process then."""
        if self._feed is not None:
            self._feed.drain()

    @property
    def dropped(self) -> int:
        """How many starts and ends are missing because the disk or this thread was too slow."""
        return self._lost + (0 if self._feed is None else self._feed.dropped)

    def __call__(self, batch: Sequence[Event]) -> None:
        """Write a batch of events; the stream calls this, in a thread of its own."""
        try:
            self._writer.write(batch)
        except StorageError as problem:
            self._lost += len(batch)
            self._report(problem)
        else:
            self.problem = None
            self._look_over()

    def _report(self, problem: StorageError) -> None:
        self.problem = problem
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "The history cannot be written; runs go on, and so will it when it can. %s", problem
            )

    def _look_over(self) -> None:
        self._batches += 1
        if self.retention_days is None or self._batches % _BATCHES_BETWEEN_LOOKS != 1:
            return
        # More than has come since, so that what is old becomes less, however much comes.
        written = self._writer.written - self._written_before_look
        self._written_before_look = self._writer.written
        before_ns = now_ns() - int(self.retention_days * _DAY_NS)
        most = max(retention.SLICE, 2 * written)
        try:
            self._database.run_sync(lambda db: retention.prune_some(db, before_ns, most))
        except StorageError as problem:
            self._report(problem)

    # Forgetting

    def prune(self, older_than: When) -> int:
        """Remove what began before a moment ("30d" ago, say) and return how many runs it was."""
        return retention.prune(
            self._database, instant_ns("History.prune", "older_than", older_than)
        )

    def clear(self) -> None:
        """Remove everything; the file keeps its size, which what comes next uses again."""
        self.flush()
        retention.clear(self._database)


def _copied(database: Database, retention_days: float | None, content: bool) -> History:
    return History(database.path, retention_days=retention_days, content=content)

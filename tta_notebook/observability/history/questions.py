"""What a history can be asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tta_notebook.core import checked
from tta_notebook.core.run import Run
from tta_notebook.observability.history import query, records
from tta_notebook.observability.history.frames import frame, plain_frame
from tta_notebook.observability.history.parquet import write_parquet
from tta_notebook.observability.history.reader import Reader
from tta_notebook.observability.history.schema import TABLES
from tta_notebook.observability.history.times import When

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = Literal["runs", "spans", "events", "prices"]


class Questions:
    """Answers questions from a history's file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._reader.path

    def flush(self) -> None:
        """See to it that what has happened so far is in the file; asked before every question."""

    def df(
        self,
        table: Table = "runs",
        *,
        since: When | None = None,
        until: When | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        **filters: object,
    ) -> pd.DataFrame:
        """Return rows of a table as a data frame, in the order of time.

        Args:
            table: "runs", "spans", "events" or "prices".
            since: the first moment: a datetime, a text like "2026-11-01", or how long ago ("7d").
            until: the first moment that does not count any more.
            columns: which columns; all by default.
            limit: the most rows; the newest are kept.
            filters: a column's value, several of them in a list, or None for none:
                `history.df("spans", model="openai:gpt-5-mini", status=["error", "cancelled"])`.
        """
        names, rows = self._rows("df", table, columns, limit, since, until, filters)
        return frame(names, rows)

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> pd.DataFrame:
        """Return what a SELECT gives, on the tables as `df` shows them.

        Times are integers there: `started_ns` and `time_ns`, nanoseconds since 1970 in UTC.

        Raises:
            ConfigurationError: the statement would change something.
        """
        self.flush()
        return plain_frame(*self._reader.sql(statement, parameters))

    def costs(
        self,
        by: str | Sequence[str] = "model",
        *,
        since: When | None = None,
        until: When | None = None,
        **filters: object,
    ) -> pd.DataFrame:
        """Return calls, tokens and costs, added up in groups.

        Args:
            by: "model", "provider", "source", "workflow", "session", "user", "step", "kind",
                "hour" or "day" (in UTC), or several of them.
            since: as in `df`.
            until: as in `df`.
            filters: as in `df("spans")`.
        """
        where = self._where("costs", "spans", since, until, filters)
        statement, names = query.costs_query(where, [by] if isinstance(by, str) else list(by))
        return frame(names, self._reader.rows(statement, where.parameters))

    def runs(
        self,
        *,
        since: When | None = None,
        until: When | None = None,
        limit: int | None = None,
        **filters: object,
    ) -> list[records.RecordedRun]:
        """Return runs as records, in the order of time; arguments as those of `df`."""
        names, rows = self._rows("runs", "runs", None, limit, since, until, filters)
        return [records.run_from(dict(zip(names, row, strict=True)), self._spans) for row in rows]

    def run(self, run: str | Run[Any]) -> records.RecordedRun:
        """Return the record of one run.

        Args:
            run: its id, or the run itself.

        Raises:
            LookupError: it is not in the history.
        """
        run_id = run.id if isinstance(run, Run) else run
        for found in self.runs(id=run_id):
            return found
        raise LookupError(
            f"{self!r} has no run {run_id!r}: it was recorded elsewhere, or too long ago. "
            "df('runs') lists what there is."
        )

    def to_parquet(
        self,
        target: str | os.PathLike[str],
        *,
        table: Table | None = None,
        since: When | None = None,
        until: When | None = None,
    ) -> list[Path]:
        """Write tables as Parquet files and return which; needs the package pyarrow.

        Args:
            target: a folder for one file per table, or a file whose name ends in ".parquet".
            table: one table; by default all of them in a folder, the spans in a file.
            since: as in `df`; prices are written whatever their time.
            until: as in `df`.
        """

        def of(name: str) -> pd.DataFrame:
            is_timed = TABLES[name].time is not None
            between = (since, until) if is_timed else (None, None)
            return frame(*self._rows("to_parquet", name, None, None, *between, {}))

        return write_parquet(Path(target), table, of)

    def _spans(self, run_id: str) -> list[records.RecordedSpan]:
        names, rows = self._rows("run", "spans", None, None, None, None, {"run_id": run_id})
        spans = [records.span_from(dict(zip(names, row, strict=True))) for row in rows]
        by_id = {span.id: span for span in spans}
        names, rows = self._rows("run", "events", None, None, None, None, {"run_id": run_id})
        for row in rows:
            marked = dict(zip(names, row, strict=True))
            if marked["span_id"] in by_id:  # else it has come since
                by_id[marked["span_id"]].events.append(records.event_from(marked))
        return spans

    def _rows(
        self,
        asked: str,
        table: str,
        columns: Sequence[str] | None,
        limit: int | None,
        since: When | None,
        until: When | None,
        filters: dict[str, object],
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        checked.choice(f"History.{asked}", "table", table, tuple(TABLES))
        where = self._where(asked, table, since, until, filters)
        statement, names = query.rows_query(where, columns, limit)
        rows = self._reader.rows(statement, where.parameters)
        return names, rows if limit is None else rows[::-1]

    def _where(
        self,
        asked: str,
        table: str,
        since: When | None,
        until: When | None,
        filters: dict[str, object],
    ) -> query.Conditions:
        self.flush()
        where = query.Conditions(f"History.{asked}", table)
        where.between(since, until)
        where.having(filters)
        return where

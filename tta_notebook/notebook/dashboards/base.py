"""What every dashboard can do: filters, charts, tables, files, and its place in a cell."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from tta_notebook.core import checked
from tta_notebook.core.stream import stream
from tta_notebook.notebook.dashboards.filters import Filters
from tta_notebook.notebook.dashboards.page import Page
from tta_notebook.notebook.front_end import takes_input
from tta_notebook.observability.history.questions import Table
from tta_notebook.observability.history.times import When

if TYPE_CHECKING:
    import pandas as pd

    from tta_notebook.notebook.dashboards.controls import Controls
    from tta_notebook.report.picture import Picture

_CONTROLS = "tta_notebook.notebook.dashboards.controls"
_NO_RECORDS = (
    "Nothing is recorded yet. Run a workflow in a notebook after %load_ext tta_notebook, or in "
    "plain Python between History().start() and .stop(); then look again."
)
_NO_MATCHES = "Nothing that is recorded matches. Look further back, or take a filter away."


class Recorded(Protocol):
    """What a dashboard asks: a `History`, or what answers as one."""

    def df(self, table: Table = ..., *, limit: int | None = ...) -> pd.DataFrame:
        """See `History.df`."""
        ...

    def sql(self, statement: str, parameters: Sequence[object] = ...) -> pd.DataFrame:
        """See `History.sql`."""
        ...

    def costs(
        self,
        by: str | Sequence[str] = ...,
        *,
        since: When | None = ...,
        until: When | None = ...,
        **filters: object,
    ) -> pd.DataFrame:
        """See `History.costs`."""
        ...


class Dashboard(ABC):
    """Charts and tables over a history, which adds up; only sums are read.

    As a cell's value it has controls while a kernel runs for somebody, and is a static page in the
    saved notebook, on GitHub and in exports.

    Args:
        history: whom to ask; by default the history in the user's folder.
        since: the first moment that counts, or how long ago: "7d"; None for everything.
        auto_refresh_s: look again so often while runs are under way and the controls are shown.
    """

    title: ClassVar[str]

    def __init__(
        self,
        history: Recorded | None = None,
        *,
        since: When | None = "7d",
        auto_refresh_s: float | None = None,
    ) -> None:
        owner = type(self).__name__
        if auto_refresh_s is not None:
            checked.seconds(owner, "auto_refresh_s", auto_refresh_s, zero=False)
        self.history = _users_history() if history is None else history
        self.filters = Filters().changed(owner, {"since": since})
        self.auto_refresh_s = auto_refresh_s
        self._shown: list[Controls] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filters}>"

    def filter(self, **wanted: Any) -> Self:
        """Return the dashboard with other filters; those that are not named stay.

        Args:
            wanted: `model`, `workflow`, `user` (None for all) or `since`.

        Raises:
            ConfigurationError: there is no such filter, or its value means nothing.
        """
        filters = self.filters.changed(f"{type(self).__name__}.filter", wanted)
        other = type(self)(self.history, auto_refresh_s=self.auto_refresh_s)
        other.filters = filters
        return other

    def page(self) -> Page:
        """Return what there is to show now."""
        stream.flush()  # what has just ended is on its way to the history
        if self.history.df("runs", limit=1).empty:
            return Page(self.title, str(self.filters), {}, [], {}, _NO_RECORDS)
        facts, charts, tables = self._read()
        return Page(self.title, str(self.filters), facts, charts, tables, _NO_MATCHES)

    def charts(self) -> list[Picture]:
        """Return the charts that have something to show."""
        return list(self.page().charts)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name; none while nothing is recorded."""
        return dict(self.page().tables)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return one page without script, for light and dark, and write it to `path` if given."""
        page = self.page().html()
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def to_csv(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each table as a file into a folder, which is made, and return which."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for name, table in self.tables().items():
            target = Path(folder) / f"{name.replace(' ', '_')}.csv"
            table.to_csv(target, index=False)
            written.append(target)
        return written

    def to_png(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the charts as pictures and return which; takes the extra `png` and a browser.

        Args:
            path: a file that ends in `.png` for one picture of all charts, else a folder, which is
                made, for one of each.

        Raises:
            ConfigurationError: kaleido is not installed, or no Chrome or Chromium is.
            WorkflowError: the browser could not draw them.
        """
        from tta_notebook.report.png import write_png  # noqa: PLC0415 - only who draws

        return write_png(self.charts(), Path(path))

    def choices(self, column: str) -> list[str]:
        """Return the models, workflows or users that occur in the dashboard's time."""
        checked.choice(type(self).__name__, "column", column, ("model", "workflow", "user"))
        table = "spans" if column == "model" else "runs"
        if self.history.df("runs", limit=1).empty:
            return []
        where, values = Filters(since=self.filters.since).rows(table, f'"{column}" IS NOT NULL')
        found = self.history.sql(
            f'SELECT DISTINCT "{column}" AS name FROM {table} WHERE {where} ORDER BY 1',  # noqa: S608 - no word of a user's
            values,
        )
        return [str(name) for name in found["name"]]

    def close(self) -> None:
        """Take the controls away and look no more by itself; what is shown stays as it is."""
        shown, self._shown = self._shown, []
        for controls in shown:
            controls.close()

    @abstractmethod
    def _read(self) -> tuple[dict[str, str], list[Picture], dict[str, pd.DataFrame]]:
        """Return the facts, the charts and the tables under the filters."""

    def _asked(self, statement: str, *values: Sequence[object]) -> pd.DataFrame:
        return self.history.sql(statement, [each for some in values for each in some])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        del include, exclude  # IPython leaves out what is not wanted
        from IPython.core.getipython import get_ipython  # noqa: PLC0415 - only who is shown

        page = self.page()
        static = {"text/html": page.fragment(), "text/plain": page.text()}
        # A program would store the controls, and an export would show those, dead, and no page.
        if not takes_input(get_ipython()):
            return static
        controls: Controls = import_module(_CONTROLS).Controls(self, page)
        self._shown.append(controls)
        return {**controls.view(), **static}


def _users_history() -> Recorded:
    from tta_notebook.observability.history import History  # noqa: PLC0415 - only who asks

    return History()

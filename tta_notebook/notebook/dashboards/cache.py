"""What caches answered and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tta_notebook.core.money import PICO, shown
from tta_notebook.notebook.dashboards.base import Dashboard
from tta_notebook.notebook.dashboards.series import bars, by_time, drawn, records
from tta_notebook.notebook.dashboards.share import Share
from tta_notebook.report.chart import Chart

if TYPE_CHECKING:
    import pandas as pd

    from tta_notebook.report.picture import Picture

_HIT = "json_extract(data, '$.hit')"
_JOINED = "json_extract(data, '$.joined') IS NOT NULL"
_RATE = f"SUM({_HIT}) * 1.0 / NULLIF(SUM({_HIT}) + SUM(NOT {_HIT} AND NOT {_JOINED}), 0)"


class CacheDashboard(Dashboard):
    """Shows how often caches answered, over time too, and what that saved.

    A hit rate is hits by hits and misses. Who joined a call that was under way is counted apart.

    Its arguments are those of every `Dashboard`.

    >>> import tempfile
    >>> from tta_notebook import CachePrimitive, LambdaPrimitive
    >>> from tta_notebook.observability.history import History
    >>> folder = tempfile.TemporaryDirectory()
    >>> kept = CachePrimitive(LambdaPrimitive(len), name="kept")
    >>> with History(folder.name + "/history.db") as history:
    ...     [kept.run_sync(word) for word in ("one", "three", "one", "one")]
    [3, 5, 3, 3]
    >>> CacheDashboard(history).page().facts["hit rate"]
    '50.0 %'
    >>> folder.cleanup()
    """

    title: ClassVar[str] = "Caches"

    def _read(self) -> tuple[dict[str, str], list[Picture], dict[str, pd.DataFrame]]:
        caches = self._caches()
        rows = records(caches)
        charts = drawn(
            Chart(
                "Hit rate by cache",
                bars(rows, "cache", ["hit_rate"]),
                x_title="cache",
                y_title="hits by hits and misses",
                y_format=".1%",
            ),
            Chart(
                "Lookups by cache",
                bars(rows, "cache", ["hits", "misses", "joined"]),
                x_title="cache",
                y_title="lookups",
                y_format=",.4g",
            ),
            self._over_time(),
        )
        return _facts(caches), charts, {"caches": caches}

    def _caches(self) -> pd.DataFrame:
        where, values = self.filters.rows("events", "name = 'cache'")
        return self._asked(
            f"SELECT step AS cache, {_RATE} AS hit_rate, SUM({_HIT}) AS hits, "  # noqa: S608 - no word of a user's
            f"SUM(NOT {_HIT} AND NOT {_JOINED}) AS misses, SUM({_JOINED}) AS joined, "
            "COALESCE(SUM(json_extract(data, '$.saved')), 0) AS tokens_saved, "
            "SUM(json_extract(data, '$.saved_pico')) / 1e12 AS usd_saved "
            f"FROM events WHERE {where} GROUP BY 1 ORDER BY COUNT(*) DESC",
            values,
        )

    def _over_time(self) -> Chart:
        buckets = self.filters.buckets()
        where, values = self.filters.rows("events", "name = 'cache'")
        rows = records(
            self._asked(
                f"SELECT {buckets.of('time_ns')} AS at, step, {_RATE} AS hit_rate, "  # noqa: S608 - no word of a user's
                "SUM(COUNT(*)) OVER (PARTITION BY step) AS lookups "
                f"FROM events WHERE {where} GROUP BY 1, 2 ORDER BY lookups DESC, 2, 1",
                values,
            )
        )
        return Chart(
            f"Hit rate per {buckets.unit}",
            by_time(rows, buckets, "step", "hit_rate"),
            kind="line",
            x_title=f"{buckets.unit} (UTC)",
            y_title="hits by hits and misses",
            y_format=".1%",
        )


def _facts(caches: pd.DataFrame) -> dict[str, str]:
    hits, misses = int(caches["hits"].sum()), int(caches["misses"].sum())
    facts = {
        "hit rate": Share(hits / (hits + misses)) if hits + misses else "-",
        "hits": f"{hits:,}",
        "misses": f"{misses:,}",
        "joined": f"{int(caches['joined'].sum()):,}",
        "tokens saved": f"{int(caches['tokens_saved'].sum()):,}",
    }
    if caches["usd_saved"].notna().any():
        facts["saved, where known"] = shown(round(caches["usd_saved"].sum() * PICO))
    return facts

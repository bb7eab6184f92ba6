"""Charts of what recorded runs would have been."""

from __future__ import annotations

from tta_notebook.core import money
from tta_notebook.cost.whatif import (
    Answer,
    BudgetReplay,
    CacheCurve,
    CachePoint,
    Repriced,
    RetryReplay,
)
from tta_notebook.report.chart import Chart, Series


def whatif_chart(answer: Answer) -> Chart:
    """Return an answer of `WhatIf` as a chart, with its intervals where it has them.

    Args:
        answer: what `reprice`, `route`, `cache`, `retry` or `budget` gave.

    Raises:
        TypeError: it is none of these.

    >>> from tta_notebook.cost.whatif import WhatIf
    >>> print(whatif_chart(WhatIf([]).cache(sizes=[10])))
    LRU caches over requests: 0 lookups, 0 distinct
         ever
    10
    No lookup is recorded, so there is nothing that a cache could have answered.
    """
    if isinstance(answer, Repriced):
        return _of_models(answer)
    if isinstance(answer, CacheCurve):
        return _of_sizes(answer)
    if isinstance(answer, RetryReplay):
        return _of_retries(answer)
    if isinstance(answer, BudgetReplay):
        return _of_windows(answer)
    raise TypeError(
        f"whatif_chart: {answer!r} is no answer that can be drawn. Give what WhatIf.reprice, "
        "route, cache, retry or budget gave."
    )


def _of_models(answer: Repriced) -> Chart:
    names, sums = list(answer.models), list(answer.models.values())
    return Chart(
        answer.question,
        [
            Series("recorded, by new model", names, [money.usd(each.recorded) for each in sums]),
            Series(
                "would have cost",
                names,
                [money.usd(each.new) for each in sums],
                [money.usd(each.low) for each in sums],
                [money.usd(each.high) for each in sums],
            ),
        ],
        x_title="model",
        y_title="USD",
        caution=_caution(answer),
    )


def _of_sizes(answer: CacheCurve) -> Chart:
    ttls = dict.fromkeys(point.ttl_seconds for point in answer.points)
    series = [
        Series(
            "ever" if ttl is None else f"TTL {ttl:g} s",
            [point.size for point in answer.points if point.ttl_seconds == ttl],
            [_miss_ratio(point) for point in answer.points if point.ttl_seconds == ttl],
        )
        for ttl in ttls
    ]
    return Chart(
        answer.table().title,
        series,
        kind="line",
        x_title="entries",
        y_title="miss ratio",
        y_format=".1%",
        caution=_caution(answer),
    )


def _miss_ratio(point: CachePoint) -> float | None:
    return 1 - point.hit_rate if point.hits + point.misses else None


def _of_retries(answer: RetryReplay) -> Chart:
    names = ["would have failed", "could have succeeded"]
    likely = sum(answer.rescued_likely) / 2
    series = Series(
        "executions",
        names,
        [float(answer.failing), likely],
        [float(answer.failing), answer.rescued_likely[0]],
        [float(answer.failing), answer.rescued_likely[1]],
    )
    return Chart(
        answer.table().title,
        [series],
        y_title="executions",
        y_format=",.3g",
        caution=_caution(answer),
    )


def _of_windows(answer: BudgetReplay) -> Chart:
    ways = list(answer.ways.values())
    sums: dict[str, list[int]] = {}
    recorded: dict[str, int] = {}
    for number, way in enumerate(ways):
        for account in way.accounts:
            name = " ".join(filter(None, (account.window, account.scope))) or "all"
            sums.setdefault(name, [0] * len(ways))[number] += account.spent_pico
            recorded[name] = account.recorded_pico
    low = [money.usd(min(each)) for each in sums.values()]
    high = [money.usd(max(each)) for each in sums.values()]
    return Chart(
        answer.question,
        [
            Series("recorded", list(recorded), [money.usd(each) for each in recorded.values()]),
            Series("would have been spent", list(sums), high, low, high),
        ],
        x_title="window",
        y_title="USD",
        caution=_caution(answer),
    )


def _caution(answer: Answer) -> str:
    return " ".join(answer.caveats)

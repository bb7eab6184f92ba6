"""Rows as data frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tta_notebook.observability.history.schema import words

if TYPE_CHECKING:
    import pandas as pd

_TIMES = {"started_ns": "started", "time_ns": "time", "hour": "hour", "day": "day"}
_WHOLE = frozenset(
    words(
        "spans input_tokens output_tokens cached_input_tokens cache_write_tokens reasoning_tokens "
        "cost_pico unpriced_calls calls number"
    )
)
_REAL = frozenset(("duration_s", "cost_usd", "first_token_s"))


def frame(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows as a data frame: moments in UTC, amounts exact where they are whole numbers."""
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for pandas

    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True) if rows else [()] * len(names)
    return pd.DataFrame(
        {
            _TIMES.get(name, name): _series(name, values)
            for name, values in zip(names, columns, strict=True)
        }
    )


def plain_frame(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows as a data frame, as the database gives them."""
    import pandas as pd  # noqa: PLC0415 - as above

    return pd.DataFrame(rows, columns=list(names))


def _series(name: str, values: tuple[Any, ...]) -> Any:
    import pandas as pd  # noqa: PLC0415 - as above

    if name in _TIMES:
        return pd.to_datetime(pd.Series(values, dtype="int64"), unit="ns", utc=True)
    if name in _WHOLE:
        return pd.Series(values, dtype="Int64")  # exact, and it has room for what is not known
    if name == "estimated":
        return pd.Series(values, dtype="Int64").astype("boolean")
    return pd.Series(values, dtype="float64" if name in _REAL else "object")

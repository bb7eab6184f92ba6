"""How long a failed call asks to wait before the next one (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from numbers import Real
from typing import Any, cast

from tta_notebook.core import clock
from tta_notebook.recovery.transient import read

_NAMES = ("retry-after-ms", "retry-after")


def retry_after(
    error: BaseException, on_unreadable: Callable[[str, object], object] | None = None
) -> float | None:
    """Return the seconds that a failed call asks to wait; None when it asks for nothing.

    Read from the error's `retry_after`, else from the headers `retry-after-ms` and `retry-after`
    (seconds or an HTTP date) of its `headers` or `response.headers`, in any case.

    Args:
        error: what the call raised.
        on_unreadable: called with the place and the value where something stands that is no time;
            it is ignored.

    >>> class Busy(Exception):
    ...     headers = {"Retry-After": "2"}
    >>> retry_after(Busy())
    2.0
    """
    for place, value in _stated(error):
        try:
            seconds = _seconds(place, value)
        except Exception:  # noqa: BLE001 - whatever it is, it is no time
            seconds = None
        if seconds is not None:
            return seconds
        if on_unreadable is not None:
            on_unreadable(place, value)
    return None


def _stated(error: BaseException) -> Iterable[tuple[str, object]]:
    own = read(error, "retry_after")
    if own is not None and not callable(own):
        yield "retry_after", own
    response = read(error, "response")
    of_botocore = _botocore_headers(response)
    for headers in (read(error, "headers"), read(response, "headers"), of_botocore):
        if headers is not None:
            found = _found(headers)
            yield from ((name, found[name]) for name in _NAMES if found.get(name) is not None)


def _found(headers: Any) -> dict[str, object]:
    """Return the headers that matter here, under their names in lower case."""
    try:
        pairs: Any = headers.items() if hasattr(headers, "items") else headers
        named = {_text(name).lower(): value for name, value in pairs}
        return {name: named[name] for name in _NAMES if name in named}
    except Exception:  # noqa: BLE001 - no mapping, then; it may still answer when asked
        get = read(headers, "get")
    try:
        return {name: get(name) or get(name.title()) for name in _NAMES} if callable(get) else {}
    except Exception:  # noqa: BLE001 - it says nothing
        return {}


def _botocore_headers(response: Any) -> Any:
    about = cast("Any", response).get("ResponseMetadata") if isinstance(response, Mapping) else None
    return cast("Any", about).get("HTTPHeaders") if isinstance(about, Mapping) else None


def _seconds(place: str, value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, timedelta):
        return _duration(value.total_seconds())
    if isinstance(value, Real):
        number = float(value)
    elif isinstance(value, (str, bytes)):
        text = _text(value).strip()
        try:
            number = float(text)
        except ValueError:
            return None if place == "retry-after-ms" else _until(text)
    else:
        return None
    return _duration(number / 1e3 if place == "retry-after-ms" else number)


def _duration(seconds: float) -> float | None:
    return seconds if 0 <= seconds < math.inf else None  # NaN is in no range


def _until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:  # "-0000": a time in UTC of which the zone is not told
        moment = moment.replace(tzinfo=UTC)
    # What lies behind us asks for nothing.
    return max(0.0, moment.timestamp() - clock.wall_ns(clock.source()) / 1e9)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)

"""What came of an item, on its way back.

The output is in bytes of its own: one that cannot travel, or be read where it arrives, takes
neither the record of the item with it nor what it cost.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tta_notebook.core.errors import TravelError
from tta_notebook.core.preview import preview
from tta_notebook.core.usage import Usage
from tta_notebook.scale.failures import able_to_travel
from tta_notebook.scale.messages import Outcome, SpanRecord
from tta_notebook.scale.packing import packed, said, travels, unpacked
from tta_notebook.scale.pickling import PLAIN, dumps

# There


def of_output(index: int, output: object, reported: Sequence[object] = ()) -> Outcome:
    """Return the outcome of an item that has an output.

    Args:
        index: the item's place.
        output: what the workflow gave.
        reported: what its steps reported as their usage and is counted with its spans: where the
            output holds one of these, it is known again.
    """
    if type(output) in PLAIN:
        return Outcome(output=pickle.dumps((output, ())))
    counted = tuple(usage for usage in reported if Usage.read(usage) is not None)
    try:
        return Outcome(output=_checked((output, counted)))
    except Exception as error:  # noqa: BLE001 - it is the item's
        if counted and travels(output):  # then it is one of these that cannot
            return of_output(index, output)
        return Outcome(error=_unable(_what(index), output, error))


def _checked(output: tuple[object, tuple[object, ...]]) -> bytes:
    data = dumps(output)
    unpacked(data)
    return data


def _unable(what: str, output: object, error: Exception) -> TravelError:
    return TravelError(
        f"{what} is a {type(output).__name__} that cannot travel to another process, or not be "
        f"read there: {said(error)}. Give plain values: texts, numbers, lists, mappings, "
        "dataclasses.",
        part=what,
    )


def packed_outcome(index: int, outcome: Outcome) -> bytes:
    """Return an outcome as bytes; errors and notes that cannot travel are put into words."""
    if _is_plain(outcome):
        return pickle.dumps(outcome)
    what = f"what came of item {index}"
    try:
        data = packed(outcome, what)
        unpacked(data)  # an error whose class takes other arguments fails only here
    except Exception:  # noqa: BLE001 - it is sent in words
        return packed(_in_words(outcome), what)
    return data


def _is_plain(outcome: Outcome) -> bool:
    """Tell whether there is nothing in an outcome that others have made."""
    return outcome.error is None and all(
        span.error is None and not span.notes for span in outcome.spans
    )


def _in_words(outcome: Outcome) -> Outcome:
    known: dict[int, BaseException] = {}

    def able(error: BaseException | None) -> BaseException | None:
        if error is None:
            return None
        # One error is raised through many steps: it stays one.
        return known.setdefault(id(error), able_to_travel(error))

    spans = tuple(_span_in_words(span, able) for span in outcome.spans)
    return outcome._replace(error=able(outcome.error), spans=spans)


def _span_in_words(
    span: SpanRecord, able: Callable[[BaseException | None], BaseException | None]
) -> SpanRecord:
    notes = tuple((name, time_ns, _data_in_words(data)) for name, time_ns, data in span.notes)
    return span._replace(error=able(span.error), notes=notes)


def _data_in_words(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if travels(value) else preview(value) for key, value in data.items()}


# Here


def read_outcome(index: int, data: bytes) -> Outcome:
    """Return an outcome; of one that cannot be read here, an error that says so."""
    try:
        outcome: Outcome = unpacked(data)
    except Exception as error:  # noqa: BLE001 - it is the item's
        return Outcome(error=_unreadable(f"what came of item {index}", error))
    return outcome


def read_output(index: int, data: bytes) -> tuple[Any, tuple[object, ...]]:
    """Return an output, and what of it was reported as usage.

    Raises:
        TravelError: it cannot be read here.
    """
    try:
        output, reported = unpacked(data)
    except Exception as error:
        raise _unreadable(_what(index), error) from error
    return output, reported


def _unreadable(what: str, error: Exception) -> TravelError:
    return TravelError(
        f"{what} cannot be read here: {said(error)}. Give plain values, or import here what its "
        "class comes from.",
        part=what,
    )


def _what(index: int) -> str:
    return f"the output for item {index}"

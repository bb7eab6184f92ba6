"""A short text of any value, for traces: bounded, and safe against what a repr may do."""

from reprlib import Repr

_LIMIT = 400

_shorten = Repr()
_shorten.maxstring = _shorten.maxother = _LIMIT
_shorten.maxlist = _shorten.maxtuple = _shorten.maxset = _shorten.maxdict = 8
_shorten.maxlevel = 4


def preview(value: object) -> str:
    """Return at most 400 characters that show `value`; text is shown as it is.

    >>> preview("hello"), preview([1] * 1000)
    ('hello', '[1, 1, 1, 1, 1, 1, 1, 1, ...]')
    """
    if isinstance(value, str):
        return value if len(value) <= _LIMIT else value[: _LIMIT - 1] + "…"
    try:
        text = _shorten.repr(value)
    except Exception as error:  # noqa: BLE001 - someone's repr may raise anything; the trace goes on
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"

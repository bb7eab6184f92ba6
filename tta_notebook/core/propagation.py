"""W3C Trace Context and Baggage: how a trace travels in headers."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def traceparent(trace_id: str, span_id: int) -> str:
    """Return the header that makes a span the parent of what is called.

    >>> traceparent("4bf92f3577b34da6a3ce929d0e0e4736", 0x00F067AA0BA902B7)
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    """
    return f"00-{trace_id}-{span_id:016x}-01"


def remote_parent(header: str) -> tuple[str, str] | None:
    """Return the trace and span id of a `traceparent` header, None if it cannot be read.

    Of versions after 00 the same fields are read, whatever follows them (W3C Trace Context,
    2021-11-23, section 3.2.4, "Versioning of traceparent").
    """
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None:
        return None
    version, trace_id, span_id, rest = match.groups()
    is_valid = version != "ff" and int(trace_id, 16) and int(span_id, 16)
    return (trace_id, span_id) if is_valid and not (version == "00" and rest) else None


def baggage_header(baggage: Mapping[str, str]) -> str:
    """Return labels as a header; a lone surrogate, which none can carry, becomes "?"."""
    quoted = (
        (quote(key, "", errors="replace"), quote(value, "", errors="replace"))
        for key, value in baggage.items()
    )
    return ",".join(f"{key}={value}" for key, value in quoted)


def baggage_pairs(header: str) -> Iterator[tuple[str, str]]:
    """Give the labels of a `baggage` header without their properties; skip what is no pair."""
    for pair in header.split(","):
        key, is_pair, value = pair.partition("=")
        if is_pair and key.strip():
            yield unquote(key.strip()), unquote(value.split(";")[0].strip())

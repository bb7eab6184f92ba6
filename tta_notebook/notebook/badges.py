"""What the notes of a step say in a few words, and how good or bad that is: one table.

Primitives note what only they know ("retry", "cache", "circuit"). The live view, the static
picture and the text show it as badges; a note that is not in the table is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from tta_notebook.core.events import Note, Span
from tta_notebook.core.money import shown, to_pico
from tta_notebook.core.usage import Usage
from tta_notebook.notebook.figures import counted, duration

Tone: TypeAlias = Literal["good", "neutral", "warn", "bad"]
Data: TypeAlias = Mapping[str, Any]

_MAX_CHARS = 72
# What notes say that has a column of its own, or is for reports.
_ELSEWHERE = frozenset(
    {"cost_usd", "key", "price", "price_date", "price_source", "provider", "request_key"}
)
# From this share of a budget on its badge warns, and at the end of it it is bad.
_NEARLY = 0.8


class Badge(NamedTuple):
    """A note in a few words.

    Attributes:
        text: what it says; complete without its colour.
        tone: how good that is.
        share: of a budget, how much of it is spent, 0 to 1; None for anything else.
    """

    text: str
    tone: Tone = "neutral"
    share: float | None = None


class _Said(NamedTuple):
    data: Data
    span: Span


def badge_of(note: Note, span: Span) -> Badge:
    """Return what a note of a step says."""
    try:
        badge = _TABLE[note.name](_Said(note.data, span))
    except (LookupError, TypeError, ValueError, AttributeError):
        # Somebody's own note, which may have a name of ours and say something else.
        badge = _raw(note)
    text = " ".join(badge.text.split())
    if len(text) > _MAX_CHARS:
        text = text[: _MAX_CHARS - 1] + "…"
    return badge._replace(text=text)


def budget_badge(data: Data) -> Badge:
    """Return how a budget stands, from its note."""
    spent, limit = data["spent_usd"], data["limit_usd"]
    share = min(spent / limit, 1.0) if limit else 1.0
    whose = f" ({data['scope']})" if data.get("scope") else ""
    text = f"budget {_usd(spent)} of {_usd(limit)}{whose}"
    tone: Tone = "bad" if share >= 1 else "warn" if share >= _NEARLY else "neutral"
    return Badge(text, tone, share)


def _usd(amount: float) -> str:
    return shown(to_pico(amount))


def _cache(said: _Said) -> Badge:
    data = said.data
    if not data["hit"]:
        joined = data.get("joined")
        return Badge("joined a call under way", "good") if joined else Badge("cache miss")
    parts = [_hit_word(data)]
    if data.get("similarity") is not None:
        parts.append(f"{data['similarity']:.2f} alike")
    if data.get("age_s") is not None:
        parts.append(f"{duration(data['age_s'])} old")
    if data.get("saved"):
        parts.append(_saved(data))
    return Badge(" · ".join(parts), "warn" if data.get("stale") else "good")


def _saved(data: Data) -> str:
    cost = data.get("saved_pico")
    worth = f" · {shown(cost)}" if cost else ""  # what cost nothing saves none
    return f"saved {counted(data['saved'], 'token')}{worth}"


def _recalled(said: _Said) -> Badge:
    worth = f" · {_saved(said.data)}" if said.data.get("saved") else ""
    return Badge(f"not run again: from {said.data['source']}{worth}", "good")


def _hit_word(data: Data) -> str:
    if data.get("stale") == "error":
        return "stale hit, as the call failed"
    return "stale hit" if data.get("stale") else "hit"


def _retry(said: _Said) -> Badge:
    most = getattr(said.span.primitive, "max_retries", None)
    of = "" if most is None else f" of {most + 1}"
    after = f" after {_seconds(said.data['delay_s'])}"
    return Badge(f"attempt {said.data['attempt']}{of}{after}: {said.data['error']}", "warn")


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds else "no wait"


def _retry_stopped(said: _Said) -> Badge:
    tries = counted(said.data["attempts"], "attempt")
    return Badge(f"gave up after {tries}: {said.data['reason']}", "bad")


def _fell_back(said: _Said) -> Badge:
    level = int(said.data["level"])
    names = [step.name for _, step in said.span.primitive.parts()]
    return Badge(f"fell back to {names[level]}: {said.data['error']}", "warn")


def _circuit(said: _Said) -> Badge:
    state = str(said.data["state"]).replace("_", "-")
    tones: dict[str, Tone] = {"open": "bad", "half-open": "warn", "closed": "good"}
    name = f" {said.data['breaker']}" if said.data.get("breaker") else ""
    whose = f" for {said.data['key']}" if said.data.get("key") else ""
    because = f": {said.data['because']}" if said.data.get("because") else ""
    return Badge(f"breaker{name} {state}{whose}{because}", tones.get(state, "warn"))


def _timed_out(said: _Said) -> Badge:
    limit = said.data.get("timeout_s")
    after = "" if limit is None else f" after {duration(limit)}"
    kinds = {"own": "timed out", "deadline": "the run's deadline passed"}
    kind = kinds.get(said.data["kind"], f"{said.data['kind']} timeout")
    instead = said.data["instead"]
    took = "" if instead == "error" else f", took the {instead}"
    return Badge(f"{kind}{after}{took}", "bad" if instead == "error" else "warn")


def _rate_limit(said: _Said) -> Badge:
    if said.data.get("refused"):
        return Badge(f"rate limit {said.data['limit']}: refused", "bad")
    return Badge(f"waited {duration(said.data['waited_s'])} for {said.data['limit']}", "warn")


def _bulkhead(said: _Said) -> Badge:
    if said.data.get("refused"):
        return Badge(f"no place: {said.data['refused']}", "bad")
    return Badge(f"waited {duration(said.data['waited_s'])} for a place")


def _elsewhere(said: _Said) -> Badge:
    return Badge(f"on {_address(said.data['worker'])}")


def _worker_lost(said: _Said) -> Badge:
    items = counted(said.data["items"], "item")
    calls = said.data["open_calls"]
    open_calls = f", {counted(calls, 'call')} under way counted as spent" if calls else ""
    return Badge(f"lost {_address(said.data['worker'])} with {items}{open_calls}", "warn")


def _address(worker: object) -> str:
    return str(worker).removeprefix("tcp://")


def _model(said: _Said) -> Badge:
    data = said.data
    name = str(data.get("served") or data.get("model") or "unnamed")
    live = "" if data.get("source") in (None, "live") else f" · {data['source']}"
    first = data.get("first_token_s")
    soon = "" if first is None else f" · first token {duration(first)}"
    cut = data.get("finish_reason") == "length"
    end = " · cut at its limit of tokens" if cut else ""
    return Badge(f"model {name}{live}{soon}{end}", "warn" if cut else "neutral")


def _raw(note: Note) -> Badge:
    facts = (pair for pair in note.data.items() if pair[0] not in _ELSEWHERE)
    return Badge(f"{note.name} {' '.join(_fact(key, value) for key, value in facts)}")


def _fact(key: str, value: object) -> str:
    name = key.replace("_", " ")
    match value:
        case None | Usage():  # tokens have a column of their own
            said = ""
        case bool():
            said = f"{name}: {'yes' if value else 'no'}"
        case int() | float():
            said = _figure(key, name, value)
        case list() | tuple():
            said = ", ".join(map(str, cast("list[object]", value)))
        case _:
            said = str(value)
    return said


def _figure(key: str, name: str, value: float) -> str:
    if key.endswith("_s"):
        return f"{name[:-2]} {duration(value)}"
    if key.endswith("_usd"):
        return f"{name[:-4]} {_usd(value)}"
    # A bare number says nothing; a text mostly does.
    return f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value:,}"


def _as(words: str, tone: Tone = "neutral") -> Callable[[_Said], Badge]:
    """Return what says these words, with the note's data in the holes."""
    return lambda said: Badge(words.format(**said.data), tone)


_TABLE: Mapping[str, Callable[[_Said], Badge]] = {
    "cache": _cache,
    "cache_error": _as("cache: {operation} failed: {error}", "warn"),
    "veto": _as("not close enough: {because}"),
    "recalled": _recalled,
    "retry": _retry,
    "retry_stopped": _retry_stopped,
    "retry_after_ignored": _as("unreadable Retry-After: {value}", "warn"),
    "fell_back": _fell_back,
    "fell_through": _as("route {route} failed: {error}", "warn"),
    "fallbacks_failed": _as("all {levels} levels failed", "bad"),
    "failed_midway": _as("failed after {characters:,} characters", "bad"),
    "circuit": _circuit,
    "timed_out": _timed_out,
    "overran": lambda said: Badge(f"{duration(said.data['by_s'])} over its time", "warn"),
    "abandoned": _as("left behind: it does not stop", "bad"),
    "late_result": _as("its result came too late", "warn"),
    "rate_limit": _rate_limit,
    "bulkhead": _bulkhead,
    "elsewhere": _elsewhere,
    "worker_lost": _worker_lost,
    "unclean_end": _as("at the end: {error}", "warn"),
    "hedge": _as("call {number} started beside it", "warn"),
    "hedge_won": _as("call {number} was the fastest", "good"),
    "budget": lambda said: budget_badge(said.data),
    "route": _as("route {route}"),
    "condition": lambda said: Badge(f"condition {'holds' if said.data['holds'] else 'fails'}"),
    "passed_through": _as("passed on unchanged"),
    "compensating": lambda said: Badge(f"undoing {', '.join(said.data['steps'])}", "warn"),
    "compensated": _as("undone: {step}", "good"),
    "undo_failed": _as("not undone: {step}: {error}", "bad"),
    "uncertain": _as("may have been done: {step}", "warn"),
    "journal_failed": _as("journal: {error}", "bad"),
    "paused": lambda said: Badge(f"paused for {duration(said.data['paused_s'])}", "warn"),
    "model": _model,
    "delegated": _as("delegated to {executor}"),
    "revision": _as("revision {revision}: {objection}", "warn"),
    "not_approved": _as("not approved: {objection}", "bad"),
    "classified": _as("{complexity}: {model}"),
}

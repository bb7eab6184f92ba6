"""When circuits were closed, half-open and open, from the notes of their changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tta_notebook.notebook.dashboards.filters import Filters
from tta_notebook.notebook.dashboards.series import records
from tta_notebook.observability.history.times import instant_ns, moment, now_ns
from tta_notebook.report.timeline import Lane, Segment, Timeline
from tta_notebook.storage.owner import Owner

Asked = Callable[..., Any]
"""Answers SQL with lists of values as a frame: `Dashboard._asked`."""

_WORDS = {"closed": "closed", "half_open": "half-open", "open": "open", "isolated": "isolated"}
_SHUT = ("open", "isolated")
# Distinct in light and dark and for most kinds of colour blindness (Okabe and Ito 2008).
_COLOURS = {
    "closed": "#009e73",
    "half-open": "#e69f00",
    "open": "#d55e00",
    "isolated": "#cc79a7",
}
_MOST_LANES = 12
_MOST_NOTES = 5_000
_MOST_SEGMENTS = 200


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in one state; `state` is None where it is not known."""

    state: str | None
    start_ns: int
    end_ns: int
    because: str = ""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One breaker's circuit in one process.

    Attributes:
        step: the breaker.
        key: which of its circuits, where it has one for each key.
        workflow: in which it stands.
        process: which of those that had one of this name, from 1; 0 where there was only one.
        stretches: its states in order.

    >>> second = 10**9
    >>> states = [Stretch("closed", 0, 3 * second), Stretch("open", 3 * second, 4 * second)]
    >>> circuit = Circuit("guarded", "eu", "ask", 0, states)
    >>> circuit.name, circuit.open_s, circuit.seconds()
    ('guarded for eu, ask', 1.0, 4.0)
    """

    step: str
    key: str | None
    workflow: str | None
    process: int
    stretches: Sequence[Stretch]

    @property
    def name(self) -> str:
        """What to call it."""
        named = self.step if self.key is None else f"{self.step} for {self.key}"
        named = f"{named}, {self.workflow}" if self.workflow else named
        return f"{named}, process {self.process}" if self.process else named

    def seconds(self, *states: str) -> float:
        """Return how long it was in some states; in all without any."""
        return sum(
            (each.end_ns - each.start_ns) / 1e9
            for each in self.stretches
            if not states or each.state in states
        )

    @property
    def open_s(self) -> float:
        """How long it let no call through."""
        return self.seconds(*_SHUT)

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        last = self.stretches[-1]
        return {
            "step": self.step,
            "key": self.key,
            "workflow": self.workflow,
            "process": self.process or None,
            "state": _WORDS.get(last.state or "", last.state),
            "since": moment(last.start_ns).isoformat(" ", "seconds"),
            "opened": sum(each.state in _SHUT for each in self.stretches),
            "open_s": self.open_s,
            "half_open_s": self.seconds("half_open"),
            "open_share": self.open_s / self.seconds() if self.seconds() else None,
        }

    def lane(self) -> Lane:
        """Return it as a lane of a timeline."""
        return Lane(
            self.name,
            [
                Segment(
                    _WORDS.get(each.state, each.state),
                    moment(each.start_ns),
                    moment(each.end_ns),
                    each.because,
                )
                for each in self.stretches[-_MOST_SEGMENTS:]
                if each.state is not None
            ],
        )


COLUMNS = (
    "step",
    "key",
    "workflow",
    "process",
    "state",
    "since",
    "opened",
    "open_s",
    "half_open_s",
    "open_share",
)


def _said(what: str) -> str:
    return f"CASE WHEN json_valid(data) THEN json_extract(data, '$.{what}') END"


# What was done by hand stands in the trace of the step that did it.
WHOSE = f"COALESCE({_said('breaker')}, step)"


def circuits(asked: Asked, filters: Filters, path: Path | None) -> list[Circuit]:
    """Return the circuits that were not closed all the time, the longest open first.

    Args:
        asked: whom to ask.
        filters: what counts; what a circuit was when their time began is looked up before it.
        path: the history's file, which knows the processes that are still there; else None.
    """
    since_ns = None if filters.since is None else instant_ns("Dashboard", "since", filters.since)
    where, values = replace(filters, since=None).rows("events", "name = 'circuit'")
    notes = records(
        asked(
            # By a table of its own: SQLite would look through all runs for each note.
            f"WITH notes AS MATERIALIZED (SELECT time_ns, span_id, number, {WHOSE} AS step, "  # noqa: S608 - no word of a user's
            f"{_said('key')} AS key, workflow, run_id, "
            f"{_said('state')} AS state, {_said('because')} AS because "
            f"FROM events WHERE {where} ORDER BY time_ns DESC LIMIT {_MOST_NOTES}), "
            "mine AS MATERIALIZED (SELECT id, owner FROM runs "
            "WHERE id IN (SELECT run_id FROM notes)) "
            "SELECT n.*, m.owner FROM notes AS n LEFT JOIN mine AS m ON m.id = n.run_id "
            "ORDER BY n.time_ns, n.span_id, n.number",
            values,
        )
    )
    times = _times(asked, {row["owner"] for row in notes} - {None}, path)
    by_circuit: dict[tuple[Any, ...], dict[Any, list[dict[str, Any]]]] = {}
    for row in notes:
        key = None if row["key"] is None else str(row["key"])
        named = by_circuit.setdefault((row["step"], key, row["workflow"]), {})
        named.setdefault(row["owner"], []).append(row)
    found: list[Circuit] = []
    for (step, key, workflow), by_owner in by_circuit.items():
        for number, (owner, rows) in enumerate(by_owner.items(), 1):
            stretches = _stretches(rows, times.get(owner), since_ns)
            process = number if len(by_owner) > 1 else 0
            if any(each.state != "closed" for each in stretches):
                found.append(Circuit(str(step or "-"), key, workflow, process, stretches))
    return sorted(found, key=lambda each: (-each.open_s, each.name))


def timeline(found: Sequence[Circuit]) -> Timeline:
    """Return when each circuit was in which state; without a lane where nothing is known."""
    lanes = [lane for lane in (each.lane() for each in found) if lane.segments]
    cautions: list[str] = []
    if len(lanes) > _MOST_LANES:
        cautions.append(f"The {_MOST_LANES} of {len(lanes):,} that were open longest.")
    if any(len(each.stretches) > _MOST_SEGMENTS for each in found):
        cautions.append(f"Of each the last {_MOST_SEGMENTS} states.")
    return Timeline("Circuits", lanes[:_MOST_LANES], _COLOURS, " ".join(cautions))


def _times(asked: Asked, owners: set[str], path: Path | None) -> dict[str, tuple[int, int]]:
    """Return when each process's first run began, and until when its circuits are known of."""
    if not owners:
        return {}
    marks = ", ".join("?" for _ in owners)
    rows = records(
        asked(
            "SELECT owner, MIN(started_ns) AS first_ns, "  # noqa: S608 - no word of a user's
            "MAX(started_ns + CAST(COALESCE(duration_s, 0) * 1e9 AS INTEGER)) AS last_ns "
            f"FROM runs WHERE owner IN ({marks}) GROUP BY 1",
            sorted(owners),
        )
    )
    claims = None if path is None else Owner(Path(f"{path}-owners"))
    present_ns = now_ns()
    return {
        row["owner"]: (
            row["first_ns"],
            # A circuit is gone with its process.
            present_ns if claims is None or claims.is_alive(row["owner"]) else row["last_ns"],
        )
        for row in rows
    }


def _stretches(
    notes: Sequence[dict[str, Any]], times: tuple[int, int] | None, since_ns: int | None
) -> list[Stretch]:
    """Return the states between the notes of one circuit, cut off before a moment."""
    first_ns, end_ns = times or (notes[0]["time_ns"], now_ns())
    # A clock may have been set back.
    first_ns = min(first_ns, notes[0]["time_ns"])
    end_ns = max(end_ns, notes[-1]["time_ns"])
    # What opens was closed. What closes or half-opens was open, who knows since when.
    before = "closed" if notes[0]["state"] == "open" else None
    changes = [(first_ns, before, "")]
    for note in notes:
        state = None if note["state"] is None else str(note["state"])
        if state != changes[-1][1]:
            changes.append((note["time_ns"], state, str(note["because"] or "")))
    ends = [*(start_ns for start_ns, _, _ in changes[1:]), end_ns]
    start_ns = first_ns if since_ns is None else since_ns
    return [
        Stretch(state, max(at_ns, start_ns), until_ns, because)
        for (at_ns, state, because), until_ns in zip(changes, ends, strict=True)
        if until_ns > start_ns or (until_ns == at_ns == end_ns >= start_ns)
    ]

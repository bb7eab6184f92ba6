"""Dashboards over what was noted when: how budgets burn, and how long circuits are open.

The notes are written as they stand in a history, at moments that make the numbers easy to derive.
"""

import contextlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tta_notebook import CircuitBreakerPrimitive, LambdaPrimitive, WorkflowContext
from tta_notebook.notebook.dashboards import (
    CostDashboard,
    ResilienceDashboard,
    budgets,
    circuits,
)
from tta_notebook.observability.history import History
from tta_notebook.observability.history.questions import Questions
from tta_notebook.storage.owner import Owner

NOW = datetime(2026, 11, 26, 6, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def ns(at):
    return round(at.timestamp() * 10**9)


class Notebook:
    """A history's file into which notes are written."""

    def __init__(self, path):
        self.path = path
        self.number = 1_000
        self.process = Owner(Path(f"{path}-owners"))  # one that goes on
        with History(path) as history:  # makes the file
            LambdaPrimitive(str).run_sync("x")
            history.flush()
        with closing(sqlite3.connect(path)) as db, db:
            for table in ("runs", "spans", "events"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of three

    def note(self, name, at, data, *, step="m", workflow="ask", owner=None, lasts=MINUTE):
        """Write a note of a run of its own."""
        self.number += 1
        run = (
            self.number,
            workflow,
            ns(at),
            lasts // MINUTE * 60 * 10**9,
            owner or self.process.id,
        )
        span = (self.number, self.number, step, ns(at))
        text = data if isinstance(data, str) else json.dumps(data)
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(
                "INSERT INTO runs (id, workflow, started_ns, duration_ns, owner, status, spans, "
                "unpriced_calls) VALUES (?, ?, ?, ?, ?, 'ok', 1, 0)",
                run,
            )
            db.execute(
                "INSERT INTO spans (span_id, run_id, name, started_ns, duration_ns, status) "
                "VALUES (?, ?, ?, ?, 0, 'ok')",
                span,
            )
            db.execute(
                "INSERT INTO events VALUES (?, 0, ?, ?, ?)", (self.number, name, ns(at), text)
            )

    def spent(self, at, usd, limit=10, per="day", budget="day", start=MIDNIGHT, **more):
        """Note what of a budget is spent."""
        about = {k: more.pop(k) for k in ("scope",) if k in more}
        if per == "day":
            window = {
                "window": f"{start:%Y-%m-%d}",
                "start_ns": ns(start),
                "end_ns": ns(start + DAY),
            }
            about |= window
        data = {"budget": budget, "limit_usd": limit, "spent_usd": usd, "held_usd": 0, "per": per}
        self.note("budget", at, data | about, **more)

    def circuit(self, at, state, because="so it is", step="guarded", **more):
        """Note what a circuit has become."""
        said = {name: more.pop(name) for name in ("key", "breaker") if name in more}
        self.note("circuit", at, {"state": state, "because": because, **said}, step=step, **more)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    for module in (budgets, circuits):
        monkeypatch.setattr(module, "now_ns", lambda: ns(NOW))
    return Notebook(tmp_path / "history.db")


def costs(notes, **filters):
    return CostDashboard(Questions(notes.path), since=None).filter(**filters)


def resilience(notes, **filters):
    return ResilienceDashboard(Questions(notes.path), since=None).filter(**filters)


def table(dashboard, name):
    found = dashboard.tables()[name].astype("object")
    return found.where(found.notna(), None).to_dict("records")


def burn(notes):
    (found,) = [each for each in costs(notes).charts() if each.title.startswith("Budgets")]
    return {series.name: dict(zip(series.x, series.y, strict=True)) for series in found.series}


# Budgets


def test_a_day_is_projected_from_its_start(notes):
    notes.spent(MIDNIGHT + HOUR, 1)
    notes.spent(MIDNIGHT + 5 * HOUR, 2.5)
    (row,) = table(costs(notes), "budgets")
    # A quarter of the day has taken $2.50: four times that in all, and then the limit is reached.
    assert row == {
        "budget": "day",
        "scope": None,
        "window": "2026-11-26",
        "spent_usd": 2.5,
        "limit_usd": 10,
        "used": 0.25,
        "usd_per_day": 10,
        "projected_usd": 10,
        "used_up": "2026-11-27 00:00",
    }
    fact = costs(notes).page().facts["budget day"]
    assert fact == "$2.50 of $10.00, $10.00 by its end at this pace"
    assert (fact.share, fact.warns_at) == (0.25, 0.8)


def test_a_fast_budget_says_when_it_is_used_up_and_a_slow_one_does_not(notes):
    for name, usd in (("fast", 5), ("slow", 1)):
        notes.spent(MIDNIGHT + HOUR, usd / 2, budget=name)
        notes.spent(NOW, usd, budget=name)
    fast, slow = table(costs(notes), "budgets")
    # $5 in six hours: the other $5 in the next six.
    assert (fast["projected_usd"], fast["used_up"]) == (20, "2026-11-26 12:00")
    assert (slow["projected_usd"], slow["used_up"]) == (4, None)
    assert "budget fast" in costs(notes).page().facts
    assert "budget slow" not in costs(notes).page().facts


@pytest.mark.parametrize(("minutes", "is_told"), [(14, False), (15, True)])
def test_the_first_hundredth_of_a_window_says_nothing_of_its_end(notes, minutes, is_told):
    # A hundredth of a day is 14.4 minutes.
    start = NOW - minutes * MINUTE
    notes.spent(start + MINUTE, 1, start=start)
    notes.spent(start + 2 * MINUTE, 2, start=start)
    (row,) = table(costs(notes), "budgets")
    assert (row["projected_usd"] is not None) == is_told
    assert (row["usd_per_day"] is not None) == is_told


def test_one_note_says_nothing_of_the_end(notes):
    notes.spent(MIDNIGHT + HOUR, 2.5)
    (row,) = table(costs(notes), "budgets")
    assert (row["used"], row["usd_per_day"], row["projected_usd"]) == (0.25, None, None)
    assert costs(notes).page().facts["budget day"] == "$2.50 of $10.00"
    assert burn(notes) == {
        "day ($10.00)": {"11-26 01:00:00": 0.25},
        "limit": {"11-26 01:00:00": 1},
    }


def test_a_total_has_a_pace_since_its_first_note_and_no_end(notes):
    notes.spent(NOW - 2 * DAY, 1, limit=9, per="total", budget="all")
    notes.spent(NOW - DAY, 5, limit=9, per="total", budget="all")
    (row,) = table(costs(notes), "budgets")
    # $4 in two days, and $4 are left.
    assert (row["window"], row["usd_per_day"], row["projected_usd"]) == ("all time", 2, None)
    assert row["used_up"] == "2026-11-28 06:00"
    assert costs(notes).page().facts["budget all"] == "$5.00 of $9.00, $2.00 a day at this pace"


@pytest.mark.parametrize(
    "spent",
    [
        [(MINUTE, 1), (timedelta(), 5)],  # a burst is no pace
        [(2 * DAY, 5), (DAY, 1)],  # the program began anew, and with it what it knew
        [(-HOUR, 1), (-2 * HOUR, 0.5)],  # a clock was set back
    ],
)
def test_what_is_no_pace_is_none(notes, spent):
    for ago, usd in spent:
        notes.spent(NOW - ago, usd, per="total", budget="all")
    (row,) = table(costs(notes), "budgets")
    assert (row["usd_per_day"], row["used_up"]) == (None, None)


def test_a_window_that_is_over_is_projected_no_more(notes):
    for hours in (1, 2):
        notes.spent(MIDNIGHT - hours * HOUR, 9 - hours, start=MIDNIGHT - DAY)
    (row,) = table(costs(notes), "budgets")
    assert (row["spent_usd"], row["projected_usd"], row["used_up"]) == (8, None, None)
    assert "budget day" not in costs(notes).page().facts


def test_a_limit_that_is_reached_says_so_and_a_changed_one_counts(notes):
    notes.spent(MIDNIGHT + HOUR, 6, limit=10)
    notes.spent(MIDNIGHT + 2 * HOUR, 6.6, limit=6)
    (row,) = table(costs(notes), "budgets")
    assert (row["limit_usd"], row["used_up"]) == (6, "reached")
    assert row["used"] == pytest.approx(1.1)
    assert costs(notes).page().facts["budget day"] == "$6.60 of $6.00, all of it"
    shares = burn(notes)["day ($6.00)"]
    assert list(shares.values()) == pytest.approx([0.6, 1.1])


def test_budgets_for_each_run_show_the_dearest_and_foresee_nothing(notes):
    for minutes, usd in enumerate((0.2, 0.7, 0.1)):
        notes.spent(NOW - HOUR + minutes * MINUTE, usd, limit=1, per="run", budget="each run")
    (row,) = table(costs(notes), "budgets")
    assert (row["window"], row["spent_usd"], row["usd_per_day"]) == ("each run", 0.7, None)
    assert costs(notes).charts() == []
    assert not [name for name in costs(notes).page().facts if name.startswith("budget")]


def test_spending_is_drawn_against_the_limit_and_begins_anew_with_a_window(notes):
    yesterday = MIDNIGHT - DAY
    notes.spent(MIDNIGHT - 3 * HOUR, 4, start=yesterday)
    notes.spent(MIDNIGHT - 3 * HOUR + MINUTE, 5, start=yesterday)
    notes.spent(MIDNIGHT + 2 * HOUR, 1)
    shown = burn(notes)
    assert shown["day ($10.00)"] == {
        "11-25 21:00": 0.5,
        "11-25 22:00": 0.5,
        "11-25 23:00": 0.5,
        "11-26 00:00": 0,
        "11-26 01:00": 0,
        "11-26 02:00": 0.1,
    }
    assert shown["limit"] == {"11-25 21:00": 1, "11-26 02:00": 1}


def test_what_is_spent_within_an_hour_is_drawn_by_the_minute(notes):
    for minutes in (0, 2, 2):
        notes.spent(NOW - 10 * MINUTE + minutes * MINUTE, minutes + 1)
    assert burn(notes)["day ($10.00)"] == {
        "11-26 05:50": 0.1,
        "11-26 05:51": 0.1,
        "11-26 05:52": 0.3,
    }


def test_what_is_spent_in_a_burst_is_drawn_by_the_second(notes):
    for seconds in (0, 1, 3):
        notes.spent(NOW + timedelta(seconds=seconds - 30), seconds + 1)
    assert list(burn(notes)["day ($10.00)"].values()) == [0.1, 0.2, 0.2, 0.4]


def test_of_many_budgets_the_fullest_five_are_drawn(notes):
    for number in range(1, 9):
        notes.spent(NOW - HOUR, number, scope=f"user u{number}")
    assert list(burn(notes)) == [f"day, user u{n} ($10.00)" for n in (8, 7, 6, 5, 4)] + ["limit"]
    assert len(table(costs(notes), "budgets")) == 8


@pytest.mark.parametrize(
    "data",
    [
        "not json",
        "{}",
        "null",
        {"budget": None, "per": None, "spent_usd": None, "limit_usd": None},
        {"budget": 7, "per": "day", "spent_usd": "nan", "limit_usd": "inf", "start_ns": "x"},
        {"budget": "b", "per": "total", "spent_usd": -1, "limit_usd": [1]},
        {"budget": "b", "per": "total", "spent_usd": 0, "limit_usd": 0},
        {"budget": "b", "per": "day", "spent_usd": 1e300, "limit_usd": 1e-300},
        {
            "budget": "b",
            "per": "day",
            "spent_usd": 1,
            "limit_usd": 2,
            "start_ns": 9e30,
            "end_ns": 9e30,
        },
    ],
)
def test_odd_notes_break_nothing(notes, data):
    for minutes in (0, 1):
        notes.note("budget", NOW - HOUR + minutes * MINUTE, data)
    notes.spent(NOW - HOUR, 1)
    page = costs(notes).page()
    assert "<h4>budgets</h4>" in page.html()
    assert page.text().startswith("Cost: ")
    for chart in page.charts:
        assert json.loads(json.dumps(chart.bundle(), allow_nan=False))
    assert {"day"} <= {row["budget"] for row in table(costs(notes), "budgets")}


@pytest.mark.parametrize("spent", [-1, "nan", None, [1]])
def test_what_is_no_amount_is_left_empty(notes, spent):
    notes.note(
        "budget", NOW - HOUR, {"budget": "b", "per": "total", "spent_usd": spent, "limit_usd": 10}
    )
    (row,) = table(costs(notes), "budgets")
    assert (row["spent_usd"], row["limit_usd"], row["used"]) == (None, 10, None)
    assert costs(notes).charts() == []


def test_budgets_follow_the_filters(notes):
    notes.spent(NOW - HOUR, 1, budget="a", workflow="one")
    notes.spent(NOW - HOUR, 2, budget="b", workflow="two")
    (row,) = table(costs(notes, workflow="one"), "budgets")
    assert row["budget"] == "a"
    assert table(costs(notes, since=NOW), "budgets") == []


# Circuits


def broken_for_a_while(notes):
    notes.circuit(NOW - 100 * MINUTE, "open", "2 failures")
    notes.circuit(NOW - 70 * MINUTE, "half_open", "its time is up")
    notes.circuit(NOW - 60 * MINUTE, "open", "it failed again")
    notes.circuit(NOW - 40 * MINUTE, "half_open", "its time is up")
    notes.circuit(NOW - 35 * MINUTE, "closed", "2 successes")


def segments(notes, **filters):
    (found,) = [each for each in resilience(notes, **filters).charts() if each.title == "Circuits"]
    return {
        lane.name: [(each.state, each.duration // MINUTE) for each in lane.segments]
        for lane in found.lanes
    }


def test_a_circuit_is_shown_from_change_to_change(notes):
    notes.note("other", NOW - 200 * MINUTE, {})  # the process's first run
    broken_for_a_while(notes)
    assert segments(notes) == {
        "guarded, ask": [
            ("closed", 100),
            ("open", 30),
            ("half-open", 10),
            ("open", 20),
            ("half-open", 5),
            ("closed", 35),
        ]
    }
    (row,) = table(resilience(notes), "circuits")
    assert (row["state"], row["opened"]) == ("closed", 2)
    assert (row["open_s"], row["half_open_s"], row["open_share"]) == (3_000, 900, 0.25)
    fact = resilience(notes).page().facts["time that circuits were open"]
    assert (fact, fact.share) == ("50 m 0 s of 3.3 h", 0.25)


def test_what_a_circuit_was_when_the_time_begins_is_looked_up_before_it(notes):
    broken_for_a_while(notes)
    assert segments(notes, since=NOW - 65 * MINUTE)["guarded, ask"][:2] == [
        ("half-open", 5),
        ("open", 20),
    ]
    assert not resilience(notes, since=NOW - 30 * MINUTE).charts()
    notes.circuit(NOW - 20 * MINUTE, "open")
    assert segments(notes, since=NOW - 5 * MINUTE) == {"guarded, ask": [("open", 5)]}


def test_a_circuit_ends_with_its_process(notes):
    notes.circuit(NOW - 3 * HOUR, "open", owner="gone", lasts=30 * MINUTE)
    assert segments(notes) == {"guarded, ask": [("open", 30)]}


def test_processes_have_lanes_of_their_own(notes):
    notes.circuit(NOW - 60 * MINUTE, "open", owner="gone", lasts=20 * MINUTE)
    notes.circuit(NOW - 50 * MINUTE, "open")
    notes.circuit(NOW - 45 * MINUTE, "half_open", owner="gone", lasts=1 * MINUTE)
    assert segments(notes) == {
        "guarded, ask, process 2": [("open", 50)],
        "guarded, ask, process 1": [("open", 15), ("half-open", 5)],
    }


def test_keys_have_lanes_of_their_own_and_what_is_done_by_hand_is_in_them(notes):
    notes.note("other", NOW - 70 * MINUTE, {})
    notes.circuit(NOW - 60 * MINUTE, "open", key="eu")
    notes.circuit(NOW - 50 * MINUTE, "open", key="us <b>")
    notes.circuit(NOW - 20 * MINUTE, "closed", step="tend", breaker="guarded", key="eu")
    notes.circuit(NOW - 10 * MINUTE, "open")
    assert segments(notes) == {
        "guarded for us <b>, ask": [("closed", 20), ("open", 50)],
        "guarded for eu, ask": [("closed", 10), ("open", 40), ("closed", 20)],
        "guarded, ask": [("closed", 60), ("open", 10)],
    }
    rows = table(resilience(notes), "circuits")
    assert [(row["step"], row["key"]) for row in rows] == [
        ("guarded", "us <b>"),
        ("guarded", "eu"),
        ("guarded", None),
    ]
    last = table(resilience(notes), "circuit transitions")
    assert [(row["step"], row["key"]) for row in last[:2]] == [("guarded", None), ("guarded", "eu")]
    assert "<b>, ask" not in resilience(notes).to_html()


def test_a_keyed_breakers_runs_make_its_lanes(tmp_path):
    def search(region):
        if region != "asia":
            raise ConnectionError(region)
        return region

    guarded = CircuitBreakerPrimitive(search, failure_threshold=1, key=str, name="guarded")

    def tend(region):
        guarded.reset(region)

    with History(tmp_path / "history.db") as history:
        for region in ("eu", "us", "asia"):
            with contextlib.suppress(ConnectionError):
                guarded.run_sync(region, WorkflowContext(workflow_id="ask"))
        LambdaPrimitive(tend).run_sync("us", WorkflowContext(workflow_id="ask"))
        found = ResilienceDashboard(history).tables()["circuits"]
    assert dict(zip(found["key"], found["state"], strict=True)) == {"eu": "open", "us": "closed"}
    assert set(found["step"]) == {"guarded"}


def test_what_a_circuit_was_before_an_odd_first_change_is_not_known(notes):
    notes.note("other", NOW - 90 * MINUTE, {})
    notes.circuit(NOW - 30 * MINUTE, "half_open")
    assert segments(notes) == {"guarded, ask": [("half-open", 30)]}


def test_a_change_to_the_same_state_is_none_and_one_in_the_future_is_drawn(notes):
    for ago in (30, 20, -10):  # the last lies ahead: a clock was set back
        notes.circuit(NOW - ago * MINUTE, "open" if ago > 0 else "closed")
    assert segments(notes) == {"guarded, ask": [("open", 40), ("closed", 0)]}


@pytest.mark.parametrize(
    "data", ["not json", "{}", {"state": None}, {"state": 5}, {"state": "<b>"}]
)
def test_odd_changes_break_nothing(notes, data):
    notes.circuit(NOW - 30 * MINUTE, "open")
    notes.note("circuit", NOW - 20 * MINUTE, data, step="guarded")
    dashboard = resilience(notes)
    assert segments(notes)["guarded, ask"][0] == ("open", 10)
    assert "<b>" not in dashboard.to_html()
    assert "guarded, ask: open from" in dashboard.page().text()
    for chart in dashboard.charts():
        assert json.loads(json.dumps(chart.bundle(), allow_nan=False))


def test_circuits_follow_the_filters_and_many_are_cut(notes):
    for number in range(15):
        notes.circuit(NOW - (number + 1) * MINUTE, "open", step=f"s{number}", workflow=f"w{number}")
    assert segments(notes, workflow="w3") == {"s3, w3": [("closed", 11), ("open", 4)]}
    (found,) = [each for each in resilience(notes).charts() if each.title == "Circuits"]
    assert [lane.name for lane in found.lanes][:2] == ["s14, w14", "s13, w13"]
    assert len(found.lanes) == 12
    assert found.caution == "The 12 of 15 that were open longest."
    assert len(table(resilience(notes), "circuits")) == 15

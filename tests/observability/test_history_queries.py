"""Questions to the history: filters, moments, sums, SQL, records, exports."""

import asyncio
import builtins
import sqlite3
import sys
import threading
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    ConfigurationError,
    StorageError,
    Usage,
    WorkflowContext,
    as_primitive,
)
from tta_notebook.core import clock
from tta_notebook.observability.history import History
from tta_notebook.observability.history.ids import from_hex, signed
from tta_notebook.observability.history.query import Conditions, costs_query, rows_query
from tta_notebook.observability.history.schema import MIGRATIONS, TABLES
from tta_notebook.observability.history.times import instant_ns, moment

step = as_primitive(lambda x: x).named("step")
NOW = datetime(2026, 11, 5, 12, 30, tzinfo=UTC)
HOUR_NS = 3_600 * 10**9


def calling(model, cost_pico, tokens=10):
    async def call(x, context):
        context.used(Usage(input_tokens=tokens, output_tokens=1), cost_pico)
        context.note("model", model=model, provider="p", source="live", odd="x")
        return x

    return as_primitive(call).named(f"call {model}")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A history of a day: every hour one run with a call of a model, each for one of two users."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    shift = int(NOW.timestamp() * 1e9) - clock.wall_ns(0)
    hours = 0
    with (
        clock.use(lambda: shift - hours * HOUR_NS),
        History(path, retention_days=None) as history,
    ):
        for hours in reversed(range(24)):
            cost = None if hours % 6 == 5 else 1_000 * (hours + 1)
            workflow = step >> calling("small" if hours % 2 else "large", cost)
            context = WorkflowContext(workflow_id="ask", user_id=f"u-{hours % 3}")
            workflow.run_sync(0, context)
            history.flush()
        with pytest.raises(ValueError, match="no"):
            as_primitive(refuse).run_sync(0)
    return path


def refuse(x):
    raise ValueError("no")


@pytest.fixture
def history(path):
    shift = int(NOW.timestamp() * 1e9) - clock.wall_ns(0)
    with clock.use(lambda: shift):
        yield History(path)


# Rows


def test_rows_come_in_the_order_of_time(history):
    for table in ("runs", "spans"):
        assert history.df(table).started.is_monotonic_increasing
    assert len(history.df()) == 25


def test_moments_are_in_utc_and_amounts_are_exact(history):
    frame = history.df("spans", model="large")
    assert str(frame.started.dtype) == "datetime64[ns, UTC]"
    assert str(frame.cost_pico.dtype) == "Int64"
    assert frame.cost_usd.dtype == frame.duration_s.dtype == float
    assert frame.cost_usd.to_list() == pytest.approx((frame.cost_pico / 1e12).to_list())


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        (NOW - timedelta(hours=2), None, 3),
        ("2h", None, 3),
        (timedelta(minutes=150), None, 3),
        ("2026-11-05T10:30:00+00:00", None, 3),
        ("2h", "1h", 1),
        (None, "23h", 0),
        ("2d", None, 24),
    ],
)
def test_rows_can_be_asked_for_by_time(history, since, until, hours):
    found = history.df("runs", since=since, until=until, workflow="ask")
    assert len(found) == hours
    assert len(history.runs(since=since, until=until, workflow="ask")) == hours


@pytest.mark.parametrize(
    "when",
    [datetime.min, date.min, "0001-01-01", timedelta.max, "9999999d", "9" * 400 + "d"],  # noqa: DTZ901 - local time is meant
)
def test_what_lies_before_all_records_is_asked_for_like_any_moment(history, when):
    assert len(history.df("runs", since=when)) == len(history.runs(since=when)) == 25
    assert history.df("runs", until=when).empty
    assert history.prune(older_than=when) == 0


@pytest.mark.parametrize(
    "when",
    [datetime.max, date.max, "2300-01-01", "9999-12-31T23:59", timedelta.min],  # noqa: DTZ901 - local time is meant
)
def test_what_lies_after_all_records_is_asked_for_like_any_moment(history, when):
    assert history.df("runs", since=when).empty
    assert len(history.df("runs", until=when)) == len(history.runs(until=when)) == 25
    assert history.costs("model", since=when).empty


def test_filters_take_one_value_several_or_none(history):
    assert len(history.df("spans", model="large")) == 12
    assert len(history.df("spans", model=["large", "small"], user="u-0")) == 8
    assert len(history.df("spans", model=None)) == 24 * 2 + 1
    assert len(history.df("runs", status={"error", "cancelled"})) == 1
    assert len(history.df("runs", user=[])) == 0


def test_identities_are_found_by_their_digits(history):
    spans = history.df("spans", model="large")
    run_id = spans.run_id.iloc[0]
    assert len(history.df("spans", run_id=run_id)) == 3
    assert len(history.df("spans", run_id=list(spans.run_id))) == 36
    assert len(history.df("runs", id="no identity")) == 0


def test_a_limit_keeps_the_newest_in_the_order_of_time(history):
    assert history.df("runs", limit=3).id.to_list() == history.df("runs").id.to_list()[-3:]


def test_columns_can_be_chosen(history):
    frame = history.df("spans", columns=["model", "started_ns", "cost_usd"], limit=2)
    assert list(frame.columns) == ["model", "started", "cost_usd"]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda h: h.df("span"), r"table='span' means nothing.*did you mean 'spans'"),
        (lambda h: h.df("spans", modle="x"), r"filter='modle' means nothing.*'model'"),
        (lambda h: h.df("runs", columns=["idd"]), "columns='idd'"),
        (lambda h: h.df("runs", limit=0), "limit=0"),
        (lambda h: h.df("runs", since="yesterday"), "since='yesterday' is no moment"),
        (lambda h: h.df("runs", since=7), "since=7 is no moment"),
        (lambda h: h.df("prices", since="1d"), "have no time"),
        (lambda h: h.costs("modle"), "by='modle'"),
        (lambda h: h.costs([]), "groups by nothing"),
        (lambda h: h.prune("soon"), "older_than='soon'"),
    ],
)
def test_questions_that_mean_nothing_are_refused(history, ask, said):
    with pytest.raises(ConfigurationError, match=said):
        ask(history)


def test_dates_and_naive_datetimes_are_local(history):
    local = datetime(2026, 11, 5).astimezone()
    for when in (date(2026, 11, 5), datetime(2026, 11, 5), "2026-11-05"):  # noqa: DTZ001
        assert instant_ns("x", "y", when) == int(local.timestamp()) * 10**9


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_moment_comes_back_to_the_microsecond(when):
    assert moment(instant_ns("x", "y", when)) == when


@given(st.integers(0, 2**64 - 1))
def test_an_identity_comes_back_from_its_digits(number):
    assert from_hex(f"{number:016x}") == signed(number)
    assert -(2**63) <= signed(number) < 2**63


# Sums


def test_costs_add_up_by_model(history):
    frame = history.costs("model").set_index("model")
    spans = history.df("spans", model=["large", "small"])
    for model, of_model in spans.groupby("model"):
        row = frame.loc[model]
        assert row.calls == len(of_model) == 12
        assert row.cost_pico == of_model.cost_pico.sum()
        assert row.input_tokens == 120
        assert row.unpriced_calls == of_model.cost_pico.isna().sum()
    assert frame.unpriced_calls.sum() == 4


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("workflow", 1), ("user", 3), ("step", 2), ("provider", 1), ("source", 1), ("kind", 1),
        ("session", 1), ("hour", 24), ("day", 2), (("hour", "model"), 24), (["user", "model"], 6),
    ],
)  # fmt: skip
def test_costs_add_up_by_anything(history, by, groups):
    frame = history.costs(by)
    assert len(frame) == groups
    assert frame.calls.sum() == 24
    assert frame.cost_pico.sum() == sum(1_000 * (n + 1) for n in range(24) if n % 6 != 5)


def test_hours_and_days_are_moments(history):
    assert history.costs("hour").hour.iloc[-1] == pd.Timestamp("2026-11-05T12:00Z")
    assert history.costs("day").day.to_list() == [
        pd.Timestamp("2026-11-04T00:00Z"),
        pd.Timestamp("2026-11-05T00:00Z"),
    ]


def test_costs_can_be_asked_for_by_time_and_by_filters(history):
    assert history.costs("model", since="1h", user="u-0").calls.to_list() == [1]


def plan(path, statement, parameters):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TEMP TABLE alive (owner)")
    explained = f"EXPLAIN QUERY PLAN {statement}"
    rows = connection.execute(explained, parameters).fetchall()
    connection.close()
    return " | ".join(row[3] for row in rows)


def test_the_frequent_questions_use_an_index(path):
    where = Conditions("x", "spans")
    where.between("2026-11-01", None)
    by_hour = plan(path, costs_query(where, ["hour", "model"])[0], where.parameters)
    assert "COVERING INDEX spans_of_calls" in by_hour
    assert "runs" not in by_hour  # what is not asked for is not looked up
    where = Conditions("x", "spans")
    where.having({"model": "large"})
    where.between("2026-11-01", None)
    assert "INDEX spans_by_model" in plan(path, rows_query(where, None, None)[0], where.parameters)
    where = Conditions("x", "spans")
    where.having({"run_id": "0" * 16})
    assert "INDEX spans_by_run" in plan(path, rows_query(where, None, None)[0], where.parameters)
    where = Conditions("x", "runs")
    assert "INDEX runs_by_time" in plan(path, rows_query(where, None, 10)[0], where.parameters)


# SQL


def test_sql_sees_the_tables_as_they_are_shown(history):
    for table, shown in TABLES.items():
        select = f"SELECT * FROM {table}"  # noqa: S608
        assert list(history.sql(select).columns) == list(shown.columns)
    frame = history.sql(
        "SELECT user, SUM(cost_usd) AS usd FROM spans WHERE model = ? GROUP BY 1", ["large"]
    )
    assert len(frame) == 3
    ids = history.sql("SELECT id FROM runs ORDER BY started_ns").id
    assert ids.to_list() == history.df("runs").id.to_list()
    odd = history.sql("SELECT DISTINCT json_extract(attributes, '$.odd') AS odd FROM spans")
    assert set(odd.odd.dropna()) == {"x"}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM runs",
        "INSERT INTO runs (id) VALUES (1)",
        "UPDATE main.runs SET status = 'ok'",
        "DELETE FROM main.spans",
        "DROP TABLE main.runs",
        "DROP VIEW runs",
        "CREATE TABLE mine (x)",
        "CREATE TEMP TABLE mine (x)",
        "PRAGMA user_version = 7",
        "ATTACH '{folder}/other.db' AS other",
        "VACUUM",
        "VACUUM INTO '{folder}/other.db'",
        "COMMIT",
        "WITH x AS (SELECT 1) DELETE FROM main.runs",
    ],
)
def test_sql_that_would_change_something_is_refused(history, tmp_path, statement):
    before = history.path.read_bytes()
    with pytest.raises(ConfigurationError, match="it would change something"):
        history.sql(statement.format(folder=tmp_path))
    assert history.path.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_sql_says_what_sqlite_says(history):
    with pytest.raises(sqlite3.OperationalError, match="no such column: modle"):
        history.sql("SELECT modle FROM spans")


def test_sql_without_a_history_says_so(tmp_path):
    with pytest.raises(StorageError, match="there is no history yet"):
        History(tmp_path / "none.db").sql("SELECT 1")


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "newer.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StorageError, match="a newer version"):
        History(tmp_path / "newer.db").df()


def test_a_folder_that_nobody_may_write_can_be_read(path, tmp_path, monkeypatch):
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert len(History(copy).df("runs")) == 25
    assert [file.name for file in tmp_path.iterdir()] == ["copy.db"]


# Records


def test_a_record_holds_the_run_as_a_tree(tmp_path):
    with History(tmp_path / "history.db", content=True) as history:
        run = asyncio.run((step >> calling("m", 1_500_000_000) >> as_primitive(noting)).run("in"))
        found = history.run(run)
    assert found.id == run.id
    assert history.run(run.id) == found
    assert (found.status, found.workflow, found.span_count) == ("ok", run.workflow_name, 4)
    assert (found.usage, found.cost_pico, found.cost_usd) == (run.usage, 1_500_000_000, 0.0015)
    assert found.duration_s == pytest.approx(run.root.duration_s)
    (root,) = found.roots
    assert [child.name for child in root.children] == ["step", "call m", "noting"]
    call = root.children[1]
    assert (call.model, call.usage, call.cost_usd) == ("m", run.usage, 0.0015)
    assert (call.attributes, call.input) == ({"odd": "x"}, "in")
    (event,) = root.children[2].events
    assert (event.name, event.data) == ("seen", {"what": "in"})
    assert str(found).splitlines()[2:4] == [
        f"    function 'step' {root.children[0].duration_s:.3g} s",
        f"    function 'call m' {call.duration_s:.3g} s $0.0015",
    ]


async def noting(x, context):
    context.note("seen", what=x)
    return x


def test_records_come_in_the_order_of_time(history):
    runs = history.runs(since="2h")
    assert [run.started for run in runs] == sorted(run.started for run in runs)
    assert history.runs(limit=1)[0].error == "no"
    assert str(history.runs(limit=1)[0]).startswith("refuse: error, 0 s")


def test_a_run_that_is_not_there_is_an_error(history):
    with pytest.raises(LookupError, match="has no run"):
        history.run(asyncio.run(step.run(0)))


# Others beside the writer


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_readers_see_whole_batches(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("beside") / "history.db"
    seen, ended = [], threading.Event()

    def read():
        reader = History(path)
        while not ended.is_set():
            if path.exists():
                frame = reader.sql(
                    "SELECT (SELECT COUNT(*) FROM spans), COALESCE(SUM(spans), 0) FROM runs"
                )
                seen.append(tuple(frame.iloc[0]))

    with History(path) as history:
        step.run_sync(0)
        history.flush()
        thread = threading.Thread(target=read)
        thread.start()
        for length in lengths:
            as_primitive([step] * length).run_sync(0)
            history.flush()
        ended.set()
        thread.join()
        assert len(history.df("spans")) == 1 + sum(length + 1 for length in lengths)
    # A run's row counts what it has begun; no span is there without it.
    assert all(spans <= counted for spans, counted in seen)


def test_a_reader_holds_up_no_writer(tmp_path):
    with History(tmp_path / "history.db") as history:
        step.run_sync(0)
        history.flush()
        reader = sqlite3.connect(history.path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)
        step.run_sync(0)
        history.flush()
        assert history.dropped == 0
        assert reader.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)
        reader.close()
        assert len(history.df("runs")) == 2


# Exports


def test_tables_become_parquet_files(history, tmp_path):
    files = history.to_parquet(tmp_path / "export")
    assert [file.name for file in files] == [f"{table}.parquet" for table in TABLES]
    assert sorted(file.name for file in (tmp_path / "export").iterdir()) == sorted(
        file.name for file in files
    )
    for file in files:
        exported, shown = pd.read_parquet(file), history.df(file.stem)
        assert list(exported.columns) == list(shown.columns)
        for name in shown:
            assert exported[name].dropna().to_list() == shown[name].dropna().to_list()


def test_one_table_becomes_one_file(history, tmp_path):
    (file,) = history.to_parquet(tmp_path / "spans.parquet", since="2h")
    assert len(pd.read_parquet(file)) == len(history.df("spans", since="2h"))
    (file,) = history.to_parquet(tmp_path / "runs.parquet", table="runs")
    assert len(pd.read_parquet(file)) == 25


def test_a_missing_package_is_named(history, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ConfigurationError, match=r"pyarrow is not installed.*tta-notebook\[parquet\]"
    ):
        history.to_parquet(tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_recording_needs_no_pandas(tmp_path, monkeypatch):
    imported = builtins.__import__

    def refuse_pandas(name, *rest):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse_pandas)
    with History(tmp_path / "history.db") as history:
        step.run_sync(0)
        assert [run.status for run in history.runs()] == ["ok"]

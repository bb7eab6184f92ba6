"""The history: what becomes a row, who may write it, and what happens when nobody can."""

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from tta_notebook import (
    ConfigurationError,
    LLMPrimitive,
    RetryPrimitive,
    StorageError,
    Usage,
    WorkflowContext,
    as_primitive,
    capture,
    flush,
)
from tta_notebook.core import clock
from tta_notebook.core.stream import stream
from tta_notebook.observability.history import History
from tta_notebook.observability.history import ids as history_ids
from tta_notebook.observability.history.writer import SLICE, Writer

step = as_primitive(lambda x: x).named("step")
chain = step >> step


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "history.db"


@pytest.fixture
def history(path):
    with History(path) as history:
        yield history


async def called(x, context):
    context.used(Usage(input_tokens=10, output_tokens=5, cached_input_tokens=4), 1_500)
    context.note(
        "model",
        model="openai:gpt-5",
        served="gpt-5-2026",
        provider="openai",
        source="live",
        finish_reason="stop",
        first_token_s=0.25,
        usage=Usage(input_tokens=10),
        cost_usd=1.5e-9,
        price_date="2026-01-01",
        price_source="user",
        request_key="abc",
        input_tokens_bound=12,
    )
    return x


call = as_primitive(called).named("call")


def one(frame):
    assert len(frame) == 1
    return frame.iloc[0]


# What becomes a row


def test_a_run_becomes_a_row_with_whose_it_is(history):
    context = WorkflowContext(
        workflow_id="ask",
        session_id="s-1",
        user_id="u-1",
        correlation_id="c-1",
        tags={"team": "search"},
        metadata={"kept": {1}},
    )
    run = asyncio.run(chain.run(0, context))
    row = one(history.df("runs"))
    assert (row.id, row.trace_id, row.workflow) == (run.id, run.trace_id_hex, "ask")
    assert (row.session, row.user, row.correlation) == ("s-1", "u-1", "c-1")
    assert (json.loads(row.tags), json.loads(row.metadata)) == ({"team": "search"}, {"kept": [1]})
    assert (row.status, row.spans, row.unpriced_calls) == ("ok", 3, 0)
    assert row.started.value == run.root.started_at_ns
    assert row.duration_s == pytest.approx(run.root.duration_s)


def test_what_was_not_asked_for_is_not_made(history):
    run = asyncio.run(chain.run(0))
    row = one(history.df("runs"))
    assert row.correlation is row.tags is row.metadata is None
    assert run.context.shared.correlation_id is None


def test_every_span_becomes_a_row(history):
    with capture() as spans:
        chain.run_sync(0)
    frame = history.df("spans").set_index("span_id")
    assert sorted(frame.index) == sorted(span.span_id_hex for span in spans)
    for span in spans:
        row = frame.loc[span.span_id_hex]
        assert (row.run_id, row.trace_id) == (span.run.id, span.trace_id_hex)
        assert (row["name"], row.kind, row.status) == (span.name, span.kind, "ok")
        parent = None if span.parent is None else span.parent.span_id_hex
        assert row.parent_id == parent
        assert row.started.value == span.started_at_ns


def test_a_call_to_a_model_is_a_row_with_tokens_cost_and_price(history):
    asyncio.run((call >> step).run(0))
    row = one(history.df("spans", model="openai:gpt-5"))
    assert (row.provider, row.source, row.finish_reason) == ("openai", "live", "stop")
    assert (row.input_tokens, row.output_tokens, row.cached_input_tokens) == (10, 5, 4)
    assert (row.cost_pico, row.cost_usd, row.estimated) == (1_500, 1.5e-9, False)
    assert (row.first_token_s, row.request_key) == (0.25, "abc")
    assert json.loads(row.attributes) == {
        "served": "gpt-5-2026",
        "price_date": "2026-01-01",
        "price_source": "user",
        "input_tokens_bound": 12,
    }
    price = one(history.df("prices"))
    assert (price.id, price.model, price.date) == (row.price_id, "openai:gpt-5", "2026-01-01")
    run = one(history.df("runs"))
    assert (run.input_tokens, run.output_tokens, run.cost_pico) == (10, 5, 1_500)
    assert len(history.df("events")) == 0


def test_a_price_is_kept_once(history):
    for _ in range(3):
        call.run_sync(0)
        flush()
    assert len(history.df("prices")) == 1


def test_a_real_primitive_of_a_model_is_recorded(history):
    LLMPrimitive(lambda prompt: prompt.upper(), prompt="{input}").run_sync("hello")
    assert len(history.df("spans", kind="llm")) == 1
    assert one(history.df("spans", kind="llm")).source is not None


def test_marks_become_events(history):
    attempts = iter([ConnectionError("first"), None])

    def fail_once(x):
        if error := next(attempts):
            raise error

    RetryPrimitive(fail_once, initial_delay=0).run_sync(0)
    event = history.df("events").iloc[0]
    assert json.loads(event["data"])["attempt"] >= 1
    assert event.step.startswith("retry")
    failed = one(history.df("spans", status="error"))
    assert (failed.error_type, failed.error) == ("ConnectionError", "first")


def test_a_run_that_fails_or_is_cancelled_says_so(history):
    with pytest.raises(ZeroDivisionError):
        (step >> (lambda x: x / 0)).run_sync(1)

    async def main():
        run = as_primitive(lambda x: asyncio.sleep(3600)).start(0)
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    frame = history.df("runs")
    assert frame.status.to_list() == ["error", "cancelled"]
    assert frame.error_type.to_list() == ["ZeroDivisionError", "CancelledError"]


def test_a_run_shows_as_running_until_it_ends(history):
    async def main():
        ended = asyncio.Event()
        begun = asyncio.Event()

        async def wait(x):
            begun.set()
            await ended.wait()

        run = (step >> wait).start(0)
        await begun.wait()
        during = one(history.df("runs"))
        assert (during.status, during.id) == ("running", run.id)
        assert history.df("spans")["name"].to_list() == ["step"]
        ended.set()
        await run
        after = one(history.df("runs"))
        assert (after.status, after.spans) == ("ok", 3)

    asyncio.run(main())


def test_a_run_inside_another_is_a_row_of_its_own(history):
    async def inside(x):
        return (await call.run(x)).output

    (step >> inside).run_sync(0)
    outer, inner = (row for _, row in history.df("runs").iterrows())
    assert (inner.parent_run, outer.parent_run) == (outer.id, None)
    assert (inner.cost_pico, outer.cost_pico) == (1_500, 1_500)
    assert history.costs("model").calls.to_list() == [1]


def test_content_is_kept_only_when_asked_for(path):
    for content, expected in ((False, None), (True, "secret")):
        with History(path, content=content) as history:
            step.run_sync("secret")
            row = history.df("spans").iloc[-1]
            assert (row.input, row.output) == (expected, expected)
        assert not stream.is_recording


ODD = [
    "half \ud800",
    "nul \x00",
    "é",
    7,
    None,
    pytest.param(object(), id="object"),
    10**30,
    ["list"],
]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_whatever_people_put_in_a_context_is_stored(history, odd):
    context = WorkflowContext(metadata={"user_id": odd, "k": odd}, tags={"t": odd})
    context.shared.workflow_id = context.shared.session_id = odd

    async def odd_step(x, context):
        context.used(Usage(input_tokens=10**30))
        context.note("model", model=odd, first_token_s=odd, finish_reason=odd)
        context.note("other", k=odd)
        raise ValueError(odd)

    named = as_primitive(odd_step)
    named.name = odd
    with pytest.raises(ValueError):  # noqa: PT011 - its text is what it is about
        (step >> named).run_sync(0, context)
    assert len(history.df("spans")) == 3
    assert len(history.df("events")) == 1
    assert one(history.df("runs")).status == "error"
    assert history.dropped == 0


def test_more_spans_than_fit_in_a_statement_are_all_there(history):
    for steps in (SLICE - 1, SLICE, SLICE + 17):
        as_primitive([step] * steps).run_sync(0)
    assert len(history.df("spans")) == 3 * SLICE + 16 + 3


# Who may write


def test_a_history_is_started_once_and_can_be_stopped_and_started(history):
    assert history.start() is history
    step.run_sync(0)
    history.stop()
    step.run_sync(0)
    history.start()
    step.run_sync(0)
    assert len(history.df("runs")) == 2


def test_nothing_is_made_before_a_run(path):
    with History(path) as history:
        assert len(history.df("runs")) == len(history.costs()) == 0
        assert list(history.df("runs", columns=["id"]).columns) == ["id"]
    assert not path.parent.exists()


def test_the_default_is_in_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TTA_HOME", str(tmp_path))
    assert History().path == tmp_path / "history.db"


def test_a_history_that_is_made_anew_goes_on_with_the_same_identities(path):
    runs = []
    for _ in range(2):
        with History(path) as history:
            runs.append(asyncio.run(chain.run(0)))
    assert [history.run(run).id for run in runs] == [run.id for run in runs]


def test_two_histories_on_one_file_keep_each_span_once(path):
    with History(path) as one_history, History(path) as other:
        call.run_sync(0)
        asyncio.run(RetryPrimitive(chain).run(0))
        one_history.flush()
        other.flush()
    assert (len(other.df("runs")), len(other.df("spans"))) == (2, 5)


def test_processes_that_drew_the_same_identities_do_not_collide(path, monkeypatch):
    ids = history_ids.Shifts
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(
            "CREATE TABLE prefixes (kind, stored, process, drawn, UNIQUE (kind, stored), "
            "UNIQUE (kind, process, drawn))"
        )
        draws = iter([b"\0\0\0\7", b"\0\0\0\x09"])
        monkeypatch.setattr(history_ids.os, "urandom", lambda size: next(draws))
        mine, other = ids(db, "run", "mine"), ids(db, "run", "other")
        number = 7 << 32 | 1
        assert number + mine[7] == number
        assert number + other[7] == 9 << 32 | 1
        assert ids(db, "run", "other")[7] == other[7]
        assert ids(db, "span", "other")[7] == 0


CHILD = """
import sys
from tta_notebook import as_primitive
from tta_notebook.observability.history import History
with History(sys.argv[1]) as history:
    for number in range(50):
        (as_primitive(len) >> str).run_sync("four")
"""


def test_processes_write_one_history_at_the_same_time(path):
    children = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", CHILD, str(path)]) for _ in range(3)
    ]
    with History(path) as history:
        for _ in range(50):
            chain.run_sync(0)
        assert [child.wait(60) for child in children] == [0, 0, 0]
        frame = history.df("runs")
    assert len(frame) == 200
    assert frame.id.is_unique
    assert set(frame.status) == {"ok"}
    assert set(frame.status) == {"ok"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_writes_rows_of_its_own(history):
    chain.run_sync(0)
    history.flush()
    if (child := os.fork()) == 0:
        try:
            chain.run_sync(0)
            history.flush()
            os._exit(0 if history.dropped == 0 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    chain.run_sync(0)
    frame = history.df("runs")
    assert (len(frame), frame.owner.nunique(), frame.id.is_unique) == (3, 2, True)


# When nobody can write


def warnings_in(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING]


def test_a_folder_that_cannot_be_made_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with History(tmp_path / "file" / "history.db") as history:
        for _ in range(3):
            assert chain.run_sync(1) == 1
            history.flush()
        assert history.dropped == 3 * 4
        assert isinstance(history.problem, StorageError)
        assert not history._feed.is_broken
    assert len(warnings_in(caplog)) == 1
    assert "runs go on" in caplog.text


def test_a_damaged_file_costs_one_warning_and_stays_as_it_is(path, caplog):
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)
    with History(path) as history:
        chain.run_sync(0)
        history.flush()
    assert history.dropped == 4
    assert len(warnings_in(caplog)) == 1
    assert path.read_bytes() == b"no database at all" * 1000
    with pytest.raises(StorageError, match="damaged"):
        history.df()


class Bounded(sqlite3.Connection):
    """A connection to a file that may not grow, while `pages` says so."""

    pages = 1_000_000

    def execute(self, statement, *arguments):
        if statement == "BEGIN IMMEDIATE":
            super().execute(f"PRAGMA max_page_count = {Bounded.pages}")
        return super().execute(statement, *arguments)


def test_writing_goes_on_when_a_full_disk_has_room_again(history, caplog, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k | {"factory": Bounded}))
    monkeypatch.setattr(Bounded, "pages", 1_000_000)
    chain.run_sync(0)
    history.flush()
    Bounded.pages = 1  # as few as there are already
    lost = 0
    while history.problem is None:
        as_primitive([step] * 1_000).run_sync(0)
        history.flush()
    lost = history.dropped
    assert lost > 0
    as_primitive([step] * 1_000).run_sync(0)
    history.flush()
    assert history.dropped > lost
    Bounded.pages = 1_000_000
    lost = history.dropped
    run = asyncio.run(chain.run(0))
    assert history.run(run).status == "ok"
    assert (history.dropped, history.problem) == (lost, None)
    assert len(warnings_in(caplog)) == 1
    # The runs themselves are known, also those whose spans are lost.
    assert set(history.df("runs").status) == {"ok"}
    assert history.df("runs").spans.sum() > len(history.df("spans"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 1 MB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    yield folder, is_mounted
    if is_mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


def test_a_tiny_disk_fills_up_and_nothing_breaks(tiny_disk, caplog, monkeypatch):
    folder, is_mounted = tiny_disk
    if not is_mounted:  # then SQLite itself says that the disk is full
        connect = sqlite3.connect
        monkeypatch.setattr(
            sqlite3, "connect", lambda *a, **k: connect(*a, **k | {"factory": Bounded})
        )
        monkeypatch.setattr(Bounded, "pages", 150)
    with History(folder / "history.db") as history:
        for _ in range(100):
            as_primitive([step] * 500).run_sync(0)
            history.flush()
            if history.problem:
                break
        assert history.dropped > 0
        assert chain.run_sync(1) == 1
    assert len(warnings_in(caplog)) == 1
    assert "no room left" in caplog.text
    with closing(sqlite3.connect(folder / "history.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_no_fault_of_the_disk_is_not_hidden(history, monkeypatch, caplog):
    def wrong(self, events):
        raise sqlite3.OperationalError("no such table")

    monkeypatch.setattr(Writer, "write", wrong)
    chain.run_sync(0)
    history.flush()
    assert "raised and gets no more events" in caplog.text


# Forgetting


@pytest.fixture
def days_ago():
    """A clock that can be set back."""
    ago = 0
    source = clock.source

    def set_back(days):
        nonlocal ago
        ago = days

    with clock.use(lambda: source() - ago * 86_400 * 10**9):
        yield set_back


def test_what_is_old_is_forgotten(path, days_ago):
    with History(path, retention_days=None) as history:
        for days in (100, 50, 1):
            days_ago(days)
            call.run_sync(0)
            RetryPrimitive(step).run_sync(0)
            history.flush()
        days_ago(0)
        assert history.prune("60d") == 2
        assert history.prune(timedelta(days=60)) == 0
        assert len(history.df("runs")) == 4
        assert len(history.df("spans")) == 6
        assert history.prune("1s") == 4
        assert len(history.df("spans")) == len(history.df("events")) == 0
        assert len(history.df("prices")) == 1


def test_it_is_forgotten_without_being_asked_for(path, days_ago):
    with History(path, retention_days=None):
        days_ago(40)
        chain.run_sync(0)
    days_ago(0)
    with History(path, retention_days=30) as history:
        assert len(history.df("runs")) == 1
        step.run_sync(0)
        assert len(history.df("runs")) == 1  # the first batch looks


def test_it_is_looked_for_again_now_and_then(path, days_ago):
    with History(path, retention_days=30) as history:
        step.run_sync(0)
        history.flush()
        days_ago(40)
        step.run_sync(0)
        history.flush()
        assert len(history.df("runs")) == 2
        days_ago(0)
        for _ in range(20):
            step.run_sync(0)
            history.flush()
        assert len(history.df("runs")) == 21


def test_everything_can_be_forgotten(history):
    call.run_sync(0)
    history.clear()
    assert [len(history.df(table)) for table in ("runs", "spans", "events", "prices")] == [0] * 4
    run = asyncio.run(chain.run(0))
    assert history.run(run).status == "ok"


@pytest.mark.parametrize("odd", [-1, "90", float("nan"), True])
def test_a_retention_that_means_nothing_is_refused(odd):
    with pytest.raises(ConfigurationError, match="retention_days"):
        History(retention_days=odd)


def test_many_threads_run_and_ask_at_once(history):
    def work():
        for _ in range(20):
            chain.run_sync(0)
            history.df("runs", limit=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.df("runs")) == 80

"""The ledger: everything that is billed is in it, once, whatever becomes of the call."""

import asyncio
import json
import random
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider import DOLLAR, Provider, llm

from tta_notebook import (
    ArgumentError,
    Budget,
    CachePrimitive,
    CostTrackingPrimitive,
    HedgePrimitive,
    Ledger,
    LLMPrimitive,
    Reply,
    RetryPrimitive,
    ScriptedModel,
    TimeoutPrimitive,
    Usage,
    WorkflowContext,
    capture,
    configured,
)
from tta_notebook.testing import cancel_everywhere, run_virtual

MODES = {
    "plain": lambda step: step,
    "retry": lambda step: RetryPrimitive(step, max_retries=2, initial_delay=0.01),
    "hedge": lambda step: HedgePrimitive(step, 0.02, idempotent=True),
    "timeout": lambda step: TimeoutPrimitive(step, 0.025, raise_on_timeout=False),
    "cache": CachePrimitive,
}


def guarded(ledger, **options):
    return WorkflowContext(**options).using(guards=(ledger,), prices=DOLLAR)


def totals(usage):
    return usage.input_tokens, usage.output_tokens


@settings(max_examples=60, deadline=None)
@given(
    modes=st.lists(st.sampled_from(sorted(MODES)), max_size=3),
    fails=st.sets(st.integers(0, 6), max_size=3),
    words=st.integers(0, 12),
    callers=st.integers(1, 6),
    watched=st.booleans(),
)
def test_the_ledger_equals_what_the_provider_bills(modes, fails, words, callers, watched):
    provider, ledger, budget = Provider(words, fails=fails), Ledger(), Budget(10_000)
    step = llm(provider)
    for mode in modes:
        step = MODES[mode](step)

    async def main():
        guards = (ledger, budget)
        contexts = (WorkflowContext().using(guards=guards, prices=DOLLAR) for _ in range(callers))
        calls = (step(f"word {n % 3}", context) for n, context in enumerate(contexts))
        await asyncio.gather(*calls, return_exceptions=True)

    if watched:
        with capture():
            run_virtual(main)
    else:
        run_virtual(main)
    booked = ledger.totals()
    # A call that is stopped reports nothing: its output is estimated from what had come, and its
    # input is what was counted beforehand, so that both are known exactly here.
    assert (booked.input_tokens, booked.output_tokens) == totals(provider.billed)
    assert booked.cost_pico == provider.billed.output_tokens * 10**12
    assert budget.status().spent_usd == booked.cost_usd
    assert budget.status().held_usd == 0


def test_a_stream_that_is_read_in_half_is_booked_with_what_it_used():
    provider, ledger = Provider(words=8), Ledger()

    async def main():
        stream = llm(provider).stream("two words", guarded(ledger))
        read = 0
        async for _ in stream:
            read += 1
            if read == 3:
                break
        await stream.aclose()

    run_virtual(main)
    assert provider.billed.output_tokens == 3
    assert ledger.totals().output_tokens == 3
    assert ledger.total_usd == 3
    assert ledger.entries[0].usage.estimated


def test_wherever_a_call_is_cancelled_the_ledger_has_what_was_billed():
    made = []

    async def main():
        provider, ledger = Provider(words=3), Ledger()
        made.append((provider, ledger))
        return await llm(provider)("two words", guarded(ledger))

    def check(_):
        provider, ledger = made[-1]
        assert ledger.totals().output_tokens == provider.billed.output_tokens

    report = cancel_everywhere(main, check=check)
    assert len(report.runs) > 3


def test_a_hit_of_a_cache_is_free():
    provider, ledger = Provider(), Ledger(DOLLAR)
    tracked = CostTrackingPrimitive(CachePrimitive(llm(provider)), ledger=ledger)
    run_virtual(lambda: tracked("once"))
    run_virtual(lambda: tracked("once"))
    assert ledger.total_requests == provider.calls == 1


def test_a_hit_that_reports_its_usage_in_a_mapping_is_free():
    ledger = Ledger(DOLLAR)
    step = CachePrimitive(lambda text: {"text": text, "model": "m", "usage": {"output_tokens": 4}})
    tracked = CostTrackingPrimitive(step, ledger=ledger)
    assert tracked.run_sync("x")["cost"]["total_cost"] == 4
    assert "cost" not in tracked.run_sync("x")
    assert ledger.total_usd == 4


def test_calls_are_charged_to_whoever_made_them():
    ledger = Ledger()
    context = guarded(ledger, workflow_id="w", user_id="u", session_id="s", tags={"team": "blue"})

    async def main():
        with capture():
            await llm(Provider(), name="ask").named("ask")("hello", context)
        await llm(Provider(words=1))("hello", guarded(ledger))

    run_virtual(main)
    assert ledger.by("user") == {"u": 5, "-": 1}
    assert ledger.by("workflow") == {"w": 5, "-": 1}
    assert ledger.by("session") == {"s": 5, "-": 1}
    assert ledger.by("step") == {"ask": 5, "-": 1}
    assert ledger.by("tag:team") == {"blue": 5}
    assert ledger.by("provider") == {"tests": 6}
    assert ledger.by("source") == {"live": 6}
    with pytest.raises(ArgumentError, match="did you mean 'user'"):
        ledger.by("users")


def test_standing_guards_book_every_run_of_the_process():
    ledger = Ledger()
    with configured(guards=[ledger], prices=DOLLAR):
        run_virtual(lambda: llm(Provider())("hello"))
    run_virtual(lambda: llm(Provider())("hello"))
    assert ledger.total_usd == 5


def test_sums_since_a_moment():
    ledger = Ledger(DOLLAR)
    ledger.record("m", Usage(output_tokens=2))
    later = datetime.now(UTC) + timedelta(hours=1)
    assert ledger.totals(timedelta(hours=1)).cost_usd == 2
    assert ledger.totals(later).requests == 0
    assert ledger.by("user", since=later) == {}
    with pytest.raises(ArgumentError, match="timedelta"):
        ledger.totals("yesterday")


@pytest.mark.parametrize("is_file", [False, True])
def test_every_moment_and_every_length_of_time_can_be_asked_for(tmp_path, is_file):
    ledger = Ledger(DOLLAR, path=tmp_path / "books.db" if is_file else None)
    ledger.record("m", Usage(output_tokens=2))
    early, late = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    begun = (datetime.min, datetime.min.replace(tzinfo=early), timedelta.max)  # noqa: DTZ901 - local time is meant
    ended = (datetime(2300, 1, 1), datetime.max, datetime.max.replace(tzinfo=late), timedelta.min)  # noqa: DTZ001, DTZ901 - as above
    assert [ledger.totals(since).requests for since in begun] == [1, 1, 1]
    assert [ledger.totals(since).requests for since in ended] == [0, 0, 0, 0]
    ledger.close()


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": -1}, 3, {"input_tokens": 10**13}])
def test_a_usage_that_cannot_be_is_refused(usage):
    with pytest.raises(ArgumentError, match="cannot be what a call used"):
        Ledger(DOLLAR).record("m", usage)


def test_sums_are_exact_where_floats_are_not():
    ledger = Ledger(DOLLAR)
    for _ in range(1_000):
        ledger.record("m", Usage(output_tokens=1))
    assert ledger.totals().cost_pico == 1_000 * 10**12
    assert ledger.total_decimal == 1_000


def test_threads_share_a_ledger():
    ledger = Ledger(DOLLAR)

    def book():
        for _ in range(200):
            ledger.record("m", Usage(output_tokens=1), user="u")

    threads = [threading.Thread(target=book) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.total_requests == 800
    assert ledger.by("user") == {"u": 800}


# In a file


def test_a_file_outlives_the_ledger_and_is_shared(tmp_path):
    path = tmp_path / "costs.db"
    one, other = Ledger(DOLLAR, path=path), Ledger(DOLLAR, path=path)
    one.record("m", Usage(3, 2, reasoning_tokens=1, estimated=True), user="u")
    other.record("m", Usage(output_tokens=5), context=WorkflowContext(tags={"team": 'a"b'}))
    assert one.total_usd == other.total_usd == 7
    assert one.by("tag:team") == {'a"b': 5}
    first = other.entries[0]
    assert first.usage == Usage(3, 2, reasoning_tokens=1, estimated=True)
    one.close()
    other.close()
    again = Ledger(path=path)
    assert again.total_usd == 7
    again.clear()
    assert again.total_requests == 0
    again.close()


def test_a_sum_of_more_than_sqlite_can_count_is_exact(tmp_path):
    ledger = Ledger(DOLLAR, path=tmp_path / "costs.db")
    for _ in range(4):
        ledger.record("m", Usage(output_tokens=5_000_000))  # five million dollars
    assert ledger.totals().cost_pico == 20_000_000 * 10**12
    ledger.close()


def test_a_file_that_cannot_be_written_costs_no_answer_and_no_booking(tmp_path, caplog):
    path = tmp_path / "costs.db"
    ledger = Ledger(DOLLAR, path=path)
    ledger.record("m", Usage(output_tokens=1))
    ledger.close()
    saved = path.read_bytes()
    path.write_bytes(b"this is no database at all" * 100)
    run_virtual(lambda: llm(Provider())("hello", guarded(ledger)))
    ledger.record("m", Usage(output_tokens=2))
    assert len([r for r in caplog.records if "could not be booked" in r.message]) == 1
    path.write_bytes(saved)
    ledger.record("m", Usage(output_tokens=4))
    assert ledger.total_usd == 1 + 5 + 2 + 4
    ledger.close()


def test_odd_names_are_booked(tmp_path):
    ledger = Ledger(DOLLAR, path=tmp_path / "costs.db")
    ledger.record("m", Usage(output_tokens=1), user="\ud800 '; DROP TABLE call; --", workflow="ü")
    assert ledger.total_usd == 1
    assert ledger.by("workflow") == {"ü": 1}
    ledger.close()
    with sqlite3.connect(tmp_path / "costs.db") as db:
        assert json.loads(db.execute("SELECT tags FROM call").fetchone()[0]) == {}
    db.close()


def test_random_books_agree_in_memory_and_in_a_file(tmp_path):
    chance = random.Random(7)  # noqa: S311 - chance, not secrecy
    memory, file = Ledger(DOLLAR), Ledger(DOLLAR, path=tmp_path / "costs.db")
    for _ in range(200):
        usage = Usage(chance.randrange(99), chance.randrange(99))
        model = chance.choice(["m", "unknown"])
        context = WorkflowContext(
            chance.choice(["a", "b", None]),
            user_id=chance.choice(["u", None]),
            tags=chance.choice([{}, {"team": "x"}]),
        )
        memory.record(model, usage, context=context)
        file.record(model, usage, context=context)
    for dimension in ("model", "user", "workflow", "day", "tag:team"):
        assert memory.lines(dimension) == file.lines(dimension)
    assert memory.totals() == file.totals()
    file.close()


def test_a_ledger_that_was_put_there_twice_books_once():
    ledger = Ledger()
    tracked = CostTrackingPrimitive(llm(Provider()), ledger=ledger)
    with configured(guards=[ledger], prices=DOLLAR):
        run_virtual(lambda: tracked("x", guarded(ledger)))
    assert ledger.total_requests == 1


def test_calls_that_report_one_usage_object_are_told_apart():
    reply = Reply("yes", usage=Usage(3, 2))
    model = LLMPrimitive(ScriptedModel([reply, reply], name="m"))
    with capture() as spans:
        run_virtual(lambda: (model >> model)("x", guarded(Ledger())))
    assert spans[-1].run.usage == Usage(6, 4)
    assert spans[-1].run.cost_usd == 4

"""Attempts as lanes, many executions as one line, and looks that cost what is new."""

import asyncio
import contextlib

import pytest
from ended_run import run_of
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import LambdaPrimitive, MapPrimitive, RetryPrimitive, Usage
from tta_notebook.notebook.crowd import Crowd
from tta_notebook.notebook.display import progress_text, run_text
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.rows import rows_of, rows_of_tree
from tta_notebook.notebook.tree import Tree


def test_attempts_are_numbered_lanes():
    calls = []

    def flaky(value):
        calls.append(value)
        if len(calls) < 3:
            raise ConnectionError("lost")
        return value

    run = run_of(RetryPrimitive(LambdaPrimitive(flaky), initial_delay=0.0), 1)
    lanes = [(row.lane.short, row.status) for row in rows_of(run) if row.lane]
    assert lanes == [("↻ 1/3", "error"), ("↻ 2/3", "error"), ("↻ 3/3", "ok")]
    assert "↻ 2/3 flaky" in run_text(run)
    assert 'title="attempt 2 of 3"' in run_html(run)


def test_steps_one_after_the_other_are_no_lanes():
    run = run_of(LambdaPrimitive(str) >> str.strip >> len, "x")
    assert not any(row.lane for row in rows_of(run))


def test_many_executions_are_one_line_with_those_that_failed_first():
    async def each(number):
        await asyncio.sleep(0)
        if number % 400 == 399:
            raise ValueError(number)
        return {"usage": {"input_tokens": 2, "output_tokens": 1}}

    step = (LambdaPrimitive(each) >> (lambda got: got)).named("each")
    run = run_of(MapPrimitive(step, max_concurrency=50, mode="collect"), range(1000))
    crowd = rows_of(run)[1]
    assert crowd.name == "1,000 \N{MULTIPLICATION SIGN} each"
    assert [badge.text for badge in crowd.badges][:2] == ["998 ok", "2 failed"]
    # What the steps under it used counts as its own.
    assert crowd.item.usage == Usage(input_tokens=1996, output_tokens=998)
    under = [row.badges[0].text for row in rows_of(run) if row.depth == 2 and row.badges]
    assert under == ["failed", "failed", "slowest", "slowest"]
    assert len(rows_of(run)) < 15
    assert "1,000 \N{MULTIPLICATION SIGN} each" in run_text(run)


def test_the_way_to_the_failure_leads_through_the_crowd():
    def check(number):
        if number == 700:
            raise ValueError(number)

    step = (LambdaPrimitive(str) >> int >> check).named("each")
    run = run_of(MapPrimitive(step, max_concurrency=1), range(1000))
    shown = [row.span for row in rows_of(run, 5)]
    assert run.failed_span in shown
    assert run.failed_span.parent in shown


def test_a_cancelled_map_counts_all_that_was_done():
    async def main():
        async def each(number):
            await asyncio.sleep(60 if number == 99 else 0)

        run = MapPrimitive(LambdaPrimitive(each), max_concurrency=1).start(range(200))
        while len(run.spans) < 101:  # noqa: ASYNC110 - the loop's turns are the clock here
            await asyncio.sleep(0)
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
        return run

    assert progress_text(asyncio.run(main())).startswith(
        "99 steps done; stopped in map each > each"
    )


@pytest.mark.parametrize("looks", [1, 7, 50])
def test_a_tree_that_grew_look_by_look_is_the_one_made_at_once(looks):
    async def main():
        async def each(number):
            await asyncio.sleep(0)
            return number

        inner = RetryPrimitive(LambdaPrimitive(each) >> str, initial_delay=0)
        run = MapPrimitive(inner, max_concurrency=3).start(range(40))
        tree = Tree(run)
        turn = 0
        while not run.done():
            turn += 1
            if turn % looks == 0:
                rows_of_tree(tree.update())
            await asyncio.sleep(0)
        return run, tree

    run, tree = asyncio.run(main())
    grown = [(row.name, row.guides, row.badges) for row in rows_of_tree(tree.update())]
    assert grown == [(row.name, row.guides, row.badges) for row in rows_of(run)]
    assert tree.running == 0


class _Ended:
    name, kind, status, span_id, parent_id = "s", "step", "ok", 1, None
    start_ns, span_id_hex = 0, "1"

    def __init__(self, duration_s):
        self.duration_s, self.end_ns = duration_s, 1


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_duration_that_covers_its_share(durations, share):
    crowd = Crowd(_Ended(1))
    for number, duration_s in enumerate(durations):
        span = _Ended(duration_s)
        span.span_id = number
        crowd.add(span)
        crowd.end(span)
    found = crowd.quantile_s(share)
    covered = sum(each <= found for each in durations)
    assert covered >= share * len(durations) - 1e-9
    assert sum(each < found for each in durations) < share * len(durations)

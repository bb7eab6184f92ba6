"""The chart of time in text."""

import asyncio

import pytest

from tta_notebook import LambdaPrimitive, MapPrimitive
from tta_notebook.notebook.gantt import run_gantt
from tta_notebook.testing import run_virtual


def slow(name, seconds):
    async def step(x):
        await asyncio.sleep(seconds)
        return x

    return LambdaPrimitive(step, name=name)


def lines(run, width=40):
    return {
        name.strip("─│├└ "): bar
        for name, bar, _ in (line.split("│")[-3:] for line in run_gantt(run, width).splitlines())
    }


def test_bars_stand_where_steps_were():
    run = run_virtual(lambda: (slow("a", 1) >> slow("b", 3)).named("job").run(0))
    chart = lines(run)
    assert chart["job"] == "█" * 40
    assert chart["a"] == "█" * 10 + " " * 30
    assert chart["b"] == " " * 10 + "█" * 30


def test_a_step_without_time_is_seen_and_a_failure_is_no_colour_alone():
    def fail(x):
        raise ValueError(x)

    async def main():
        run = (slow("a", 2) >> (lambda x: x) >> fail).named("job").start(0)
        with pytest.raises(ValueError, match="0"):
            await run
        return run

    chart = lines(run_virtual(main))
    assert chart["fail"] == " " * 39 + "✗"
    assert chart["job"] == "✗" * 40


def test_many_executions_are_one_line():
    many = MapPrimitive(slow("work", 1), max_concurrency=10)
    run = run_virtual(lambda: many.run(range(100)))
    assert len(run_gantt(run).splitlines()) < 10


def test_what_was_cancelled_has_a_bar_of_its_own():
    async def main():
        run = slow("a", 1).start(0)
        await asyncio.sleep(0.5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return run

    assert lines(run_virtual(main))["a"] == "▒" * 40


def test_the_magic_prints_it(shell):
    shell.run("%%tta_workflow ask --input ' hi '\nstrip >> str.upper")
    printed = shell.run("%tta_trace --format gantt").out
    assert printed.count("█") >= 3
    assert "upper" in printed

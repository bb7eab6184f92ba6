"""What the live view is sent."""

import asyncio
import contextlib

import pytest

from tta_notebook import LambdaPrimitive
from tta_notebook.core.algebra import as_primitive
from tta_notebook.notebook import loop as loop_module
from tta_notebook.notebook.loop import Heartbeat, cancel_route

live = pytest.importorskip("tta_notebook.notebook.widgets.live")
bundle = pytest.importorskip("tta_notebook.notebook.widgets.bundle")


def played(script):
    """Run a step that goes on when told, and let `script(run, go_on)` look at it meanwhile."""

    async def main():
        steps = asyncio.Queue()

        async def talk(value, context):
            for word in value.split():
                await steps.get()
                context.chunk(word)
            return value

        run = (LambdaPrimitive(str.strip) >> talk).named("talk").start(" a b c ")
        await asyncio.sleep(0)

        async def go_on(times=1):
            for _ in range(times):
                steps.put_nowait(None)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        await script(run, go_on)
        await go_on(3)
        await run

    asyncio.run(main())


def test_batches_hold_only_what_is_new():
    async def script(run, go_on):
        batches = live.Batches(run)
        await go_on()
        first = batches.next()
        assert [row["name"] for row in first["rows"]] == ["talk", "strip", "talk"]
        assert len(first["order"]) == 3
        assert [(s["at"], s["add"]) for s in first["streams"]] == [(0, "a")]
        await go_on()
        second = batches.next()
        assert (second["rows"], second["order"]) == ([], None)
        assert [(s["at"], s["add"]) for s in second["streams"]] == [(1, "b")]
        snapshot = batches.next(is_snapshot=True)
        assert len(snapshot["rows"]) == 3
        assert [(s["at"], s["add"]) for s in snapshot["streams"]] == [(0, "ab")]

    played(script)


def test_an_ended_step_is_sent_with_its_time():
    async def script(run, go_on):
        batches = live.Batches(run)
        assert [row["ms"] is None for row in batches.next()["rows"]] == [True, False, True]
        await go_on(3)
        await run
        assert [row["status"] for row in batches.next()["rows"]] == ["ok", "ok"]

    async def main():
        step = asyncio.Event()

        async def wait(value):
            await step.wait()

        run = (LambdaPrimitive(str.strip) >> wait).named("w").start("x")
        await asyncio.sleep(0)

        async def go_on(_):
            step.set()

        await script(run, go_on)

    asyncio.run(main())


def test_the_widget_is_small_and_asks_for_nothing():
    script, style = bundle.script(), bundle.style()
    assert len((script + style).encode()) < 20_000
    assert "import " not in script.replace("import.meta", "")
    assert "fetch(" not in script
    assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


def test_the_widget_keeps_no_state_of_the_run():
    widget = live.LiveRun()
    own = {key for key in widget.keys if not key.startswith("_")}
    assert own <= {"layout", "tabbable", "tooltip"}
    widget.close()


@pytest.mark.parametrize(
    ("version", "route"),
    [((7, 4, 0), "main"), ((8, 0, 0), "main"), ((7, 1, 0), "subshell"), ((6, 31, 0), "interrupt")],
)
def test_how_cancel_travels_depends_on_the_kernel(monkeypatch, version, route):
    kernel = type(loop_module)("ipykernel")
    kernel.version_info = version
    monkeypatch.setitem(loop_module.sys.modules, "ipykernel", kernel)
    assert cancel_route() == route


def test_the_heart_beats_only_while_a_cell_runs():
    async def main():
        heart = Heartbeat()
        running = asyncio.get_running_loop()

        def beats():
            return running in heart._beats

        heart.start()
        heart.start()
        heart.stop()
        assert beats()
        heart.stop()
        assert not beats()
        heart.stop()
        heart.start()
        assert beats()
        heart.close()
        assert not beats()

    asyncio.run(main())
    Heartbeat().start()  # without a loop there is nothing to turn


def test_a_row_gives_its_details_when_asked():
    async def script(run, go_on):
        batches = live.Batches(run)
        await go_on()
        key = batches.next()["order"][1]
        assert batches.details(key)["text"].startswith("strip (function): ok, ")
        assert "not shown" in batches.details("nothing")["text"]

    played(script)


def test_a_failure_is_told_once_it_has_left_the_step_around_it():
    async def main():
        hold = asyncio.Event()

        def parse(value):
            raise ValueError("no number")

        async def wait(value):
            await hold.wait()

        run = {"bad": LambdaPrimitive(str) >> parse, "slow": wait}
        run = as_primitive(run).start("x")
        batches = live.Batches(run)
        for _ in range(9):
            head = batches.next()["run"]
            await asyncio.sleep(0)
        with contextlib.suppress(ValueError):
            await run
        return head, batches.next()["run"]

    _, head = asyncio.run(main())
    assert head["trouble"].endswith("parse\nValueError: no number")
    assert head["failed"]

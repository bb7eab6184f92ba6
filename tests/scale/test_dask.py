"""Maps over the workers of a real Dask cluster on this machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tta_notebook import (
    Budget,
    BudgetExceededError,
    CachePrimitive,
    Cluster,
    ConfigurationError,
    CostTrackingPrimitive,
    LambdaPrimitive,
    Ledger,
    LLMPrimitive,
    MapPrimitive,
    Price,
    PriceBook,
    ScriptedModel,
    TravelError,
    WorkerLostError,
    WorkflowContext,
    capture,
)

PATIENCE_S = 30


@pytest.fixture(scope="module")
def shared():
    with Cluster(workers=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared):
    """The cluster of this module, once the workers that a test has killed are replaced."""
    asyncio.run(until(lambda: len(pids(shared)) == 2))
    return shared


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


def lines(journal: Path) -> list[list[str]]:
    return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []


def count(journal: Path, word: str) -> int:
    return sum(line[0] == word for line in lines(journal))


async def until(holds) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not come about in time"
        await asyncio.sleep(0.02)


def written(journal: Path, seconds: float):
    """Return a step that writes down when it begins, ends and is cancelled."""

    # Defined here, so that it travels with its code, as the steps of a notebook do.
    async def step(x):
        def write(word):
            with journal.open("a") as file:
                file.write(f"{word} {x} {os.getpid()}\n")

        write("begun")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            write("cleaned")
            raise
        write("ended")
        return x

    return LambdaPrimitive(step)


def pids(cluster) -> list[int]:
    return list(cluster._client.run(os.getpid, on_error="ignore").values())


def test_a_map_gives_its_results_in_order_from_several_processes(cluster):
    async def main():
        run = await MapPrimitive(lambda x: (x, os.getpid()), executor=cluster).run(range(100))
        assert [x for x, _ in run.output] == list(range(100))
        places = {pid for _, pid in run.output}
        assert len(places) == 2
        assert os.getpid() not in places

    asyncio.run(main())


def test_it_works_without_a_running_loop_and_from_several_loops(cluster):
    step = MapPrimitive(lambda x: x + 1, executor=cluster)
    assert step.run_sync([1, 2]) == [2, 3]
    assert step.run_sync([("a"[:0] and 1) or 5]) == [6]
    assert asyncio.run(LambdaPrimitive(len).map(["a", "bb"], executor=cluster)) == [1, 2]


def test_the_trace_is_one_and_says_where_items_ran(cluster):
    async def main():
        workflow = LambdaPrimitive(lambda x: x, name="first") >> LambdaPrimitive(str, name="second")
        with capture() as spans:
            run = await MapPrimitive(workflow, executor=cluster, name="all").run(range(3))
        assert [span.name for span in run.spans].count("second") == 3
        root = run.root
        items = [span for span in run.spans if span.parent is root]
        assert len(items) == 3
        addresses = {worker.address for worker in cluster.status()}
        for item in items:
            (note,) = item.noted("elsewhere")
            assert note.data["worker"] in addresses
            assert root.start_ns <= item.start_ns <= item.end_ns <= root.end_ns
        assert {span.status for span in spans} == {"ok"}
        assert len(spans) == len(run.spans) == 10

    asyncio.run(main())


def test_caches_of_a_workflow_last_from_map_to_map(cluster, journal):
    cached = CachePrimitive(written(journal, 0))

    async def main():
        for _ in range(3):
            assert await cached.map([1] * 20, executor=cluster) == [1] * 20

    asyncio.run(main())
    # Each worker has a copy, which holds for all maps.
    assert 1 <= count(journal, "begun") <= 2


def test_one_budget_holds_for_all_workers(cluster):
    prices = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)})
    model = LLMPrimitive(ScriptedModel("one two three four", name="m"), max_output_tokens=4)
    budget, ledger = Budget(20), Ledger()

    async def main():
        context = WorkflowContext("batch").using(guards=[budget, ledger], prices=prices)
        run = await MapPrimitive(model, executor=cluster, mode="collect").run(
            [f"question {number}" for number in range(30)], context
        )
        refused = [given for given in run.output if isinstance(given, BudgetExceededError)]
        answered = [given for given in run.output if given == "one two three four"]
        assert (len(answered), len(refused)) == (5, 25)
        assert run.cost_usd == 20
        assert run.usage.output_tokens == 20

    asyncio.run(main())
    assert budget.status().spent_usd == ledger.total_usd == 20
    assert budget.status().held_usd == 0
    assert ledger.total_requests == 5


def test_a_ledger_inside_of_the_workflow_has_what_all_workers_booked(cluster):
    prices = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)})
    ledger = Ledger(prices)
    model = LLMPrimitive(ScriptedModel("one two", name="m"))
    tracked = CostTrackingPrimitive(model, ledger=ledger)

    async def main():
        context = WorkflowContext("batch", user_id="u-1")
        assert await tracked.map(["a"] * 20, executor=cluster, context=context) == ["one two"] * 20

    asyncio.run(main())
    assert (ledger.total_requests, ledger.total_usd) == (20, 40)
    assert ledger.by("user") == {"u-1": 40}


def test_a_chunk_that_waits_for_a_busy_worker_is_cancelled_at_once(cluster):
    busy = [
        cluster._client.submit(time.sleep, 3, workers=[worker.address], pure=False)
        for worker in cluster.status()
    ]

    async def main():
        run = MapPrimitive(len, executor=cluster).start(["a"] * 10)
        await asyncio.sleep(0.5)
        start_s = time.monotonic()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert time.monotonic() - start_s < 2
        assert run.root.noted("worker_lost") == []

    asyncio.run(main())
    for task in busy:
        task.result()


def test_cancelling_the_run_cancels_the_work_and_waits_for_its_clean_up(cluster, journal):
    async def main():
        step = MapPrimitive(written(journal, 60), executor=cluster, max_concurrency=6)
        run = step.start(range(100))
        await until(lambda: count(journal, "begun") == 6)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert count(journal, "cleaned") == 6
        assert run.status == "cancelled"
        assert {span.status for span in run.spans} == {"cancelled"}
        assert len(run.spans) == 7

    asyncio.run(main())
    assert count(journal, "begun") == 6


def test_the_first_failure_ends_the_others_and_keeps_its_traceback(cluster, journal):
    slow = written(journal, 60)

    async def step(x):
        if x == 3:
            await until(lambda: count(journal, "begun") == 3)
            raise ValueError("no such item")
        return await slow.execute(x)

    async def main():
        with pytest.raises(ValueError, match="no such item") as caught:
            await LambdaPrimitive(step).map(range(4), executor=cluster, max_concurrency=4)
        (note,) = caught.value.__notes__
        assert "Raised on the worker tcp://" in note
        assert note.endswith("in step")

    asyncio.run(main())
    assert count(journal, "cleaned") == 3


def test_a_killed_worker_costs_nothing_that_was_finished(cluster, journal):
    async def main():
        run = MapPrimitive(written(journal, 0.2), executor=cluster, max_concurrency=4).start(
            range(40)
        )
        await until(lambda: count(journal, "ended") >= 8)
        victim = int(lines(journal)[0][2])
        os.kill(victim, signal.SIGKILL)
        assert await run == list(range(40))
        (lost,) = run.root.noted("worker_lost")
        # Dealt out again: what was under way there or waited behind it, and nothing else.
        ended = [line[1] for line in lines(journal) if line[0] == "ended"]
        assert set(ended) == {str(x) for x in range(40)}
        assert count(journal, "begun") - 40 <= lost.data["items"]
        # Ended and written down, but not reported yet when the worker was killed.
        assert len(ended) - 40 <= 2

    asyncio.run(main())


def test_an_item_that_ends_its_worker_fails_alone(cluster):
    def step(x):
        if x == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    async def main():
        got = await LambdaPrimitive(step).map(range(8), executor=cluster, mode="collect")
        lost = got.pop(3)
        assert isinstance(lost, WorkerLostError)
        assert (lost.index, lost.attempts) == (3, 3)
        assert got == [0, 1, 2, 4, 5, 6, 7]

    asyncio.run(main())


def test_an_interrupt_of_the_group_does_not_end_workers(cluster, journal):
    async def main():
        before = pids(cluster)
        run = MapPrimitive(written(journal, 0.3), executor=cluster, max_concurrency=4).start(
            range(8)
        )
        await until(lambda: count(journal, "begun") >= 4)
        for pid in before:
            os.kill(pid, signal.SIGINT)
        assert await run == list(range(8))
        assert pids(cluster) == before

    asyncio.run(main())


def test_a_step_that_blocks_holds_up_neither_the_worker_nor_its_end(cluster):
    async def main():
        assert await LambdaPrimitive(lambda x: time.sleep(0.5) or x).map(
            range(4), executor=cluster
        ) == [0, 1, 2, 3]

    asyncio.run(main())


def test_what_cannot_travel_names_the_step(cluster):
    lock = threading.Lock()
    workflow = LambdaPrimitive(len, name="harmless") >> LambdaPrimitive(
        lambda x: lock and x, name="locked"
    )

    async def main():
        with pytest.raises(TravelError, match=r"the step 'locked' .*cannot pickle"):
            await workflow.map(["a"], executor=cluster)
        with pytest.raises(TravelError, match="item 1 is a lock"):
            await LambdaPrimitive(str).map([1, lock], executor=cluster)
        got = await LambdaPrimitive(lambda x: x and threading.Lock()).map(
            [0, 1], executor=cluster, mode="collect"
        )
        assert got[0] == 0
        assert isinstance(got[1], TravelError)

    asyncio.run(main())


def test_a_map_over_the_cluster_inside_of_another_one_is_refused(cluster):
    inner = MapPrimitive(len, executor=cluster)

    async def main():
        with pytest.raises(TravelError, match="would wait for places"):
            await inner.map([["a"]], executor=cluster)

    asyncio.run(main())


def test_two_maps_share_the_workers(cluster):
    async def step(x):
        await asyncio.sleep(0.05)
        return x

    async def main():
        first, second = await asyncio.gather(
            LambdaPrimitive(step).map(range(60), executor=cluster),
            LambdaPrimitive(step).map(range(60, 120), executor=cluster),
        )
        assert first + second == list(range(120))

    asyncio.run(main())


def test_nothing_is_left_at_the_scheduler(cluster):
    async def step(x):
        return x

    asyncio.run(LambdaPrimitive(step).map(range(50), executor=cluster))

    def left(dask_scheduler):
        queues = list(dask_scheduler.extensions["queues"].queues)
        return queues, [key for key in dask_scheduler.tasks if str(key).startswith("tta-")]

    end_s = time.monotonic() + PATIENCE_S
    while (found := cluster._client.run_on_scheduler(left)) != ([], []):
        assert time.monotonic() < end_s, found
        time.sleep(0.05)


# Opening and closing


def test_its_processes_end_with_it():
    with Cluster(workers=1) as cluster:
        (pid,) = pids(cluster)
        assert len(cluster.status()) == 1
    end_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end_s, "a worker is left"
        time.sleep(0.05)
    assert cluster.status() == []
    assert "closed" in repr(cluster)


def test_it_grows_and_shrinks(cluster):
    async def where(x):
        await asyncio.sleep(0.2)
        return os.getpid()

    async def workers_of_a_map():
        step = LambdaPrimitive(where)
        return len(set(await step.map(range(30), executor=cluster, max_concurrency=6)))

    async def main():
        cluster.scale(3)
        await until(lambda: len(cluster.status()) == 3)
        grown = await workers_of_a_map()
        cluster.scale(2)
        await until(lambda: len(cluster.status()) == 2)
        return grown, await workers_of_a_map()

    assert asyncio.run(main()) == (3, 2)


def test_a_worker_of_another_release_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("tta_notebook.scale.cluster._release_here", lambda: ("3.1", "0"))
    with pytest.raises(
        ConfigurationError, match=r"runs Python 3\.\d+ .* this process Python 3\.1 "
    ):
        Cluster(client=cluster._client)._opened()
    assert cluster._client.status == "running"


def test_nobody_at_the_address_is_said():
    with pytest.raises(WorkerLostError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster("tcp://127.0.0.1:9", connect_timeout_seconds=0.5)._opened()


def test_two_places_for_workers_exclude_each_other():
    with pytest.raises(TypeError, match="address and workers"):
        Cluster("tcp://127.0.0.1:9", workers=2)


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_a_number_of_workers_that_means_nothing_is_refused(workers):
    with pytest.raises(ConfigurationError, match="workers"):
        Cluster(workers=workers)


# A scheduler and workers of their own, as on other machines


@contextmanager
def process(*arguments):
    started = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield started
    finally:
        started.kill()
        started.stderr.close()
        started.wait()


@pytest.fixture
def deployment(tmp_path):
    """A scheduler and one worker, started by Dask's own commands."""
    file = tmp_path / "scheduler.json"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    with process(*scheduler, "--no-dashboard", "--scheduler-file", str(file)) as first:
        end_s = time.monotonic() + PATIENCE_S
        while not file.exists():
            assert time.monotonic() < end_s, first.stderr.read()
            time.sleep(0.05)
        time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = ("distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard")
        with process(*worker, "--nthreads", "2", "--local-directory", str(tmp_path)):
            yield address, first


def test_it_works_on_workers_that_were_started_elsewhere(deployment):
    address, _ = deployment

    async def main():
        async with Cluster(address) as cluster:
            assert await LambdaPrimitive(lambda x: x * 2).map(range(50), executor=cluster) == [
                x * 2 for x in range(50)
            ]
            (worker,) = cluster.status()
            assert worker.places == 2
            with pytest.raises(ConfigurationError, match="not started here"):
                cluster.scale(3)

    asyncio.run(main())


def test_work_ends_when_the_process_that_wants_it_is_killed(deployment, journal, tmp_path):
    address, _ = deployment
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import asyncio, os
from pathlib import Path
from tta_notebook import Cluster, LambdaPrimitive

async def step(x):
    with open({str(journal)!r}, "a") as file:
        file.write(f"begun {{x}}\\n")
    try:
        await asyncio.sleep(60)
    finally:
        with open({str(journal)!r}, "a") as file:
            file.write(f"cleaned {{x}}\\n")

async def main():
    async with Cluster({address!r}) as cluster:
        await LambdaPrimitive(step).map(range(100), executor=cluster, max_concurrency=4)

asyncio.run(main())
"""
    )
    with subprocess.Popen([sys.executable, str(script)]) as started:
        try:
            asyncio.run(until(lambda: count(journal, "begun") == 4))
        finally:
            started.kill()
    asyncio.run(until(lambda: count(journal, "cleaned") == 4))
    assert count(journal, "begun") == 4


def test_a_scheduler_that_is_killed_ends_the_map(deployment, journal):
    address, scheduler = deployment

    async def main():
        cluster = Cluster(address, connect_timeout_seconds=1, grace_seconds=1)
        step = MapPrimitive(written(journal, 60), executor=cluster, max_concurrency=4)
        run = step.start(range(100))
        await until(lambda: count(journal, "begun") == 4)
        scheduler.kill()
        with pytest.raises(WorkerLostError):
            await run
        await cluster.aclose()

    asyncio.run(main())

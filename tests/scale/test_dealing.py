"""Maps over workers give what maps in one process give."""

import asyncio
from contextlib import nullcontext
from random import Random

import pytest
from crew import Box, LocalCrew, Meter, die, over
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    BulkheadPrimitive,
    LambdaPrimitive,
    MapPrimitive,
    StepTimeoutError,
    TimeoutPrimitive,
    TravelError,
    WorkerLostError,
    WorkflowContext,
    capture,
)
from tta_notebook.scale.messages import Ended, Report
from tta_notebook.testing import cancel_everywhere, run_virtual


def napping(meter, naps_s=1.0):
    """Return a step that counts itself and gives ten times its item."""

    async def work(x):
        with meter.item(x):
            await asyncio.sleep(naps_s(x) if callable(naps_s) else naps_s)
            return x * 10

    return LambdaPrimitive(work, name="work")


def generated(items):
    yield from items


async def streamed(items, pause_s=0.0):
    for item in items:
        if pause_s:
            await asyncio.sleep(pause_s)
        yield item


async def nobody_is_left():
    """Check that no task but the test's own runs any more."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Results


@pytest.mark.parametrize("source", [list, tuple, generated, streamed, dict.fromkeys])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 101, 2000])
def test_results_stand_in_the_order_of_the_items_whatever_gives_them(source, size):
    work = napping(Meter(), lambda x: x * 7 % 5)
    found = run_virtual(over(LocalCrew(3, 2), work).execute(source(range(size))))
    assert found == [x * 10 for x in range(size)]


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, float("nan")])
def test_results_that_are_nothing_are_results(value):
    same = LambdaPrimitive(lambda x: x, name="same")
    assert str(run_virtual(over(LocalCrew(), same).execute([value] * 3))) == str([value] * 3)


@settings(deadline=None, max_examples=60)
@given(
    items=st.lists(st.integers(0, 30), max_size=40),
    failing=st.sets(st.integers(0, 30), max_size=4),
    workers=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), min_size=1),
    limit=st.one_of(st.none(), st.integers(1, 12)),
    chunk_size=st.one_of(st.none(), st.integers(1, 9)),
    delay_s=st.sampled_from([0.0, 0.5, 5.0]),
    seed=st.integers(0, 2**32),
    is_stream=st.booleans(),
)
def test_a_map_that_collects_gives_what_it_gives_in_one_process(
    items, failing, workers, limit, chunk_size, delay_s, seed, is_stream
):
    meter = Meter()

    async def work(x):
        with meter.item(x):
            await asyncio.sleep(x % 4)
            if x in failing:
                raise ValueError(f"no {x}")
            return x * 10

    step = LambdaPrimitive(work, name="work")
    here = run_virtual(MapPrimitive(step, mode="collect").execute(items))
    meter.most = 0
    crew = LocalCrew(workers, seed=seed, delay_s=delay_s)
    mapped = over(crew, step, max_concurrency=limit, mode="collect", chunk_size=chunk_size)
    there = run_virtual(lambda: mapped.execute(streamed(items) if is_stream else items), seed=seed)
    assert [str(x) for x in there] == [str(x) for x in here]
    assert [type(x) for x in there] == [type(x) for x in here]
    assert limit is None or meter.most <= limit


# How many at once


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(1, 20),
    workers=st.integers(1, 4),
    places=st.integers(1, 3),
    joining=st.integers(0, 4),
    killed=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_no_more_items_run_at_once_than_the_map_allows_whoever_comes_and_goes(
    limit, workers, places, joining, killed, seed
):
    meter, rng = Meter(), Random(seed)  # noqa: S311 - reproducible on purpose
    crew = LocalCrew(workers, places, seed=seed)
    mapped = over(
        crew, napping(meter, lambda x: 1 + x % 3), max_concurrency=limit, chunk_size=5, attempts=9
    )

    async def main():
        mapping = asyncio.ensure_future(mapped.execute(range(60)))
        for number in range(joining):
            await asyncio.sleep(rng.random() * 3)
            crew.join(f"new{number}", places)
        for _ in range(killed):
            await asyncio.sleep(rng.random() * 3)
            if len(crew.workers) > 1:
                crew.kill(rng.choice(sorted(crew.workers)))
        return await mapping

    assert run_virtual(main) == [x * 10 for x in range(60)]
    assert meter.most <= limit


def test_a_map_uses_all_the_room_that_it_is_given():
    meter = Meter()
    run_virtual(over(LocalCrew(2), napping(meter), max_concurrency=7).execute(range(200)))
    assert meter.most == 7


def test_slow_items_do_not_hold_up_those_that_wait_behind_them():
    chance = Random(7)  # noqa: S311 - chance, not secrecy
    naps_s = [0.3 + 0.7 * chance.random() + 2 * (chance.random() < 0.1) for _ in range(300)]

    async def seconds(step):
        begun_s = asyncio.get_running_loop().time()
        await step.execute(range(300))
        return asyncio.get_running_loop().time() - begun_s

    work = napping(Meter(), naps_s.__getitem__)
    here_s = run_virtual(lambda: seconds(MapPrimitive(work, max_concurrency=40)))
    there_s = run_virtual(lambda: seconds(over(LocalCrew(2), work, max_concurrency=40)))
    assert there_s < 1.2 * here_s


def test_a_source_that_is_slow_to_begin_with_still_fills_its_chunks():
    meter = Meter()
    mapped = over(LocalCrew(2), napping(meter, 60), max_concurrency=20)

    async def main():
        await mapped.execute(streamed(range(200), pause_s=0.01))
        return asyncio.get_running_loop().time()

    # Two chunks of one item each, and then ten sets of twenty.
    assert run_virtual(main) < 60 * 13
    assert meter.most == 20


def test_a_stream_is_not_read_far_ahead_of_what_is_worked_on():
    taken, meter = Box(0), Meter()

    async def items():
        for x in range(1000):
            taken.value += 1
            assert taken.value - sum(meter.done.values()) <= 3 * 10
            yield x

    mapped = over(LocalCrew(2), napping(meter), max_concurrency=10)
    assert run_virtual(mapped.execute(items())) == [x * 10 for x in range(1000)]


def test_every_worker_gets_its_share_and_loads_the_workflow_once():
    crew = LocalCrew(4)
    run_virtual(over(crew, napping(Meter())).execute(range(400)))
    assert {worker for worker, _ in crew.chunks} == set(crew.workers)
    assert all(list(worker.loads.values()) == [1] for worker in crew.everybody)
    assert crew.is_closed


# Failures


def test_the_first_failure_stops_the_others_and_waits_for_their_clean_up():
    meter = Meter()

    async def work(x):
        with meter.item(x):
            if x == 3:
                await asyncio.sleep(1)
                raise ValueError("three")
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(2)

    async def main():
        with pytest.raises(ValueError, match=r"^three"):
            await over(LocalCrew(2), LambdaPrimitive(work)).execute(range(10))
        assert (meter.running, asyncio.get_running_loop().time()) == (0, 3)
        await nobody_is_left()

    run_virtual(main)
    assert sum(meter.begun.values()) == 10
    assert not meter.done


def test_what_fails_in_the_clean_up_is_noted_on_the_first_failure():
    async def work(x):
        if x == 0:
            raise ValueError("first")
        try:
            await asyncio.sleep(100)
        finally:
            raise KeyError("in the clean-up")

    with pytest.raises(ValueError, match="first") as caught:
        run_virtual(over(LocalCrew(2), LambdaPrimitive(work)).execute(range(2)))
    assert any("KeyError: 'in the clean-up'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("mode", ["fail_fast", "collect"])
def test_an_item_that_raises_a_cancellation_itself_stops_the_map_as_in_one_process(mode):
    meter = Meter()

    async def work(x):
        with meter.item(x):
            await asyncio.sleep(1)
            if x == 2:
                raise asyncio.CancelledError
            await asyncio.sleep(100)

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await over(LocalCrew(2), LambdaPrimitive(work), mode=mode).execute(range(6))
        assert asyncio.get_running_loop().time() == 1
        assert meter.running == 0
        await nobody_is_left()

    run_virtual(main)


@pytest.mark.parametrize("mode", ["fail_fast", "collect"])
@pytest.mark.parametrize("error", [OSError("dry"), asyncio.CancelledError("dry")])
@pytest.mark.parametrize("is_stream", [True, False])
def test_a_source_that_raises_stops_the_map(mode, error, is_stream):
    meter = Meter()

    def items():
        yield from range(30)
        raise error

    async def stream():
        for x in range(30):
            await asyncio.sleep(0.1)
            yield x
        raise error

    async def main():
        mapped = over(LocalCrew(2), napping(meter, 100), mode=mode)
        with pytest.raises(type(error), match="dry"):
            await mapped.execute(stream() if is_stream else items())
        assert asyncio.get_running_loop().time() < 4
        assert meter.running == 0
        await nobody_is_left()

    run_virtual(main)


def test_what_cannot_be_iterated_raises_as_in_one_process():
    class Broken:
        def __iter__(self):
            raise RuntimeError("no iterator")

    with pytest.raises(RuntimeError, match="no iterator"):
        run_virtual(over(LocalCrew(2), napping(Meter())).execute(Broken()))


# Cancelled


def held_up(meter, cleans_s=0.0):
    async def work(x):
        with meter.item(x):
            try:
                await asyncio.sleep(1 + x % 2)
            finally:
                await asyncio.sleep(cleans_s)
        return x

    return LambdaPrimitive(work, name="work")


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("is_traced", [True, False])
def test_a_map_can_be_cancelled_at_every_await_and_nothing_goes_on(seed, is_stream, is_traced):
    meter = Meter()

    async def scenario():
        meter.__init__()
        crew = LocalCrew(2, delay_s=0.3)
        mapped = over(crew, held_up(meter, 0.2), max_concurrency=4, chunk_size=2)
        with capture() if is_traced else nullcontext():
            return await mapped.execute(streamed(range(7), 0.1) if is_stream else range(7))

    def check(cancelled):
        assert meter.running == 0
        assert meter.begun == meter.cleaned

    report = cancel_everywhere(scenario, seed=seed, check=check)
    assert report.suspensions > 10


def test_whatever_task_is_cancelled_nothing_is_left_behind():
    meter = Meter()

    async def scenario():
        meter.__init__()
        mapped = over(LocalCrew(2, delay_s=0.3), held_up(meter, 0.2), max_concurrency=4)
        return await mapped.execute(streamed(range(5), 0.1))

    def check(cancelled):
        assert meter.running == 0

    cancel_everywhere(scenario, every_task=True, check=check)


def test_every_span_has_ended_when_a_cancelled_run_has():
    async def main():
        run = over(LocalCrew(2), held_up(Meter(), 1)).start(range(8))
        await asyncio.sleep(0.5)
        assert run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await nobody_is_left()
        return run

    run = run_virtual(main)
    assert run.status == "cancelled"
    assert len(run.spans) == 9
    assert {span.status for span in run.spans} == {"cancelled"}


def test_a_second_cancellation_ends_the_waiting_for_clean_up():
    meter = Meter()

    async def main():
        mapping = asyncio.ensure_future(over(LocalCrew(2), held_up(meter, 9)).execute(range(8)))
        await asyncio.sleep(0.5)
        mapping.cancel()
        await asyncio.sleep(1)
        assert not mapping.done()
        mapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapping
        assert asyncio.get_running_loop().time() == 1.5
        await asyncio.sleep(20)  # what cleans up elsewhere
        await nobody_is_left()

    run_virtual(main)


def test_a_worker_that_never_stops_is_waited_for_as_long_as_is_allowed():
    async def main():
        crew = LocalCrew(2, stubborn=["w1"])
        mapped = over(crew, held_up(Meter(), 1000), grace_s=7)
        run = mapped.start(range(8))
        await asyncio.sleep(0.5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.get_running_loop().time() == 7.5
        await asyncio.sleep(2000)  # what cleans up elsewhere
        await nobody_is_left()
        return run

    run = run_virtual(main)
    notes = run.root.noted("worker_lost")
    assert {note.data["worker"] for note in notes} == {"w0", "w1"}


def test_a_crew_that_fails_at_the_end_does_not_take_the_results_with_it():
    class Failing(LocalCrew):
        async def close(self):
            await super().close()
            raise OSError("the scheduler is gone")

    run = run_virtual(over(Failing(2), napping(Meter())).run(range(4)))
    assert run.output == [0, 10, 20, 30]
    (note,) = run.root.noted("unclean_end")
    assert note.data["error"] == "OSError: the scheduler is gone"


def test_a_crew_that_cannot_stop_is_told_of_beside_the_failure():
    class Failing(LocalCrew):
        async def stop(self, chunks):
            await super().stop(chunks)
            raise OSError("the scheduler is gone")

    async def work(x):
        if x == 1:
            raise ValueError("one")
        await asyncio.sleep(100)

    with pytest.raises(ValueError, match="one") as caught:
        run_virtual(over(Failing(2), LambdaPrimitive(work)).execute(range(4)))
    assert any("the scheduler is gone" in note for note in caught.value.__notes__)


def test_a_crew_that_cannot_give_fails_the_map_as_itself():
    class Failing(LocalCrew):
        async def give(self, worker, chunk, package):
            raise OSError("no way")

    with pytest.raises(OSError, match="no way"):
        run_virtual(over(Failing(2), napping(Meter()), grace_s=1).execute(range(4)))


# Time


@pytest.mark.parametrize("mode", ["fail_fast", "collect"])
@pytest.mark.parametrize("is_late_in_context", [True, False])
def test_a_deadline_ends_the_map_wherever_it_runs(mode, is_late_in_context):
    meter = Meter()

    async def main():
        mapped = over(LocalCrew(2), napping(meter, 100), mode=mode)
        context = WorkflowContext().within(5) if is_late_in_context else WorkflowContext()
        limited = mapped if is_late_in_context else TimeoutPrimitive(mapped, timeout_seconds=5)
        with pytest.raises(StepTimeoutError):
            await limited.execute(range(8), context)
        assert asyncio.get_running_loop().time() == 5
        assert meter.running == 0
        await nobody_is_left()

    run_virtual(main)


def test_items_see_how_much_time_is_left():
    async def work(x, context):
        await asyncio.sleep(1)
        return round(context.remaining(), 3)

    mapped = over(LocalCrew(1), LambdaPrimitive(work), max_concurrency=1)
    assert run_virtual(mapped.execute([1, 2], WorkflowContext().within(5))) == [4, 3]


def test_a_paused_run_gives_out_nothing_more_and_goes_on_when_it_is_resumed():
    meter = Meter()

    async def main():
        mapped = over(LocalCrew(2), napping(meter), max_concurrency=4, chunk_size=2)
        run = mapped.start(range(12))
        await asyncio.sleep(0.5)
        run.pause()
        await asyncio.sleep(50)
        assert (sum(meter.begun.values()), sum(meter.done.values())) == (4, 4)
        run.resume()
        await run
        return run, asyncio.get_running_loop().time()

    run, ended_s = run_virtual(main)
    assert run.output == [x * 10 for x in range(12)]
    assert ended_s == 50.5 + 2


def test_a_map_whose_items_have_ended_ends_although_the_run_is_paused():
    meter = Meter()

    async def main():
        run = over(LocalCrew(2), napping(meter)).start(range(4))
        await asyncio.sleep(0.5)
        run.pause()
        await asyncio.sleep(10)
        return run.status

    assert run_virtual(main) == "ok"


def test_a_run_that_is_cancelled_while_it_is_paused_ends_at_once():
    meter = Meter()

    async def main():
        mapped = over(LocalCrew(2), napping(meter), max_concurrency=4, chunk_size=2)
        run = mapped.start(range(12))
        await asyncio.sleep(0.5)
        run.pause()
        await asyncio.sleep(5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.get_running_loop().time() == 5.5
        await nobody_is_left()

    run_virtual(main)


def test_a_paused_run_that_loses_its_workers_does_not_run_out_of_patience():
    meter = Meter()

    async def main():
        crew = LocalCrew(1, patience_s=3)
        run = over(crew, napping(meter)).start(range(4))
        await asyncio.sleep(0.5)
        run.pause()
        crew.kill("w0")
        await asyncio.sleep(60)
        crew.join("w9")
        await asyncio.sleep(1)
        assert run.status == "running"
        run.resume()
        return await run

    assert run_virtual(main) == [0, 10, 20, 30]


def test_a_pause_while_it_waits_for_workers_stops_that_clock_too():
    async def main():
        crew = LocalCrew(1, patience_s=3)
        run = over(crew, napping(Meter())).start(range(4))
        await asyncio.sleep(0.5)
        crew.kill("w0")
        await asyncio.sleep(1)
        run.pause()
        await asyncio.sleep(60)
        crew.join("w9")
        run.resume()
        return await run

    assert run_virtual(main) == [0, 10, 20, 30]


# Lost


@settings(deadline=None, max_examples=80)
@given(
    kills=st.lists(st.floats(0, 6), min_size=1, max_size=3),
    delay_s=st.sampled_from([0.0, 0.4]),
    chunk_size=st.one_of(st.none(), st.integers(1, 9)),
    seed=st.integers(0, 2**32),
)
def test_every_item_has_its_result_whenever_workers_are_lost(kills, delay_s, chunk_size, seed):
    meter = Meter()
    crew = LocalCrew(4, 2, seed=seed, delay_s=delay_s)
    mapped = over(
        crew,
        napping(meter, lambda x: 1 + x % 3),
        max_concurrency=16,
        chunk_size=chunk_size,
        attempts=5,
    )

    async def main():
        for number, at_s in enumerate(kills):
            asyncio.get_running_loop().call_later(at_s, crew.kill, f"w{number}")
        return await mapped.execute(range(80))

    assert run_virtual(main, seed=seed) == [x * 10 for x in range(80)]
    assert all(1 <= times <= 1 + len(kills) for times in meter.begun.values())


def test_what_has_a_result_is_not_run_again_when_its_worker_is_lost():
    meter = Meter()
    crew = LocalCrew(2)

    async def main():
        mapped = over(crew, napping(meter, lambda x: 1 + x), max_concurrency=40, chunk_size=20)
        asyncio.get_running_loop().call_later(10.5, crew.kill, "w0")
        return await mapped.run(range(40))

    run = run_virtual(main)
    assert run.output == [x * 10 for x in range(40)]
    # The first worker had 0 to 19, of which ten had ended.
    assert {x for x, times in meter.begun.items() if times == 2} == set(range(10, 20))
    (note,) = run.root.noted("worker_lost")
    assert note.data == {"worker": "w0", "items": 10, "open_calls": 0}


def poisoned(meter, poisonous, *, is_replaced=True):
    async def work(x):
        with meter.item(x):
            if x == poisonous:
                await asyncio.sleep(0.5)
                await die(is_replaced=is_replaced)
            await asyncio.sleep(1)
            return x * 10

    return LambdaPrimitive(work, name="work")


@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize("attempts", [2, 3, 4])
@pytest.mark.parametrize("chunk_size", [None, 40])
@pytest.mark.parametrize("limit", [1, 10, 100])
def test_an_item_that_ends_every_worker_fails_alone(places, attempts, chunk_size, limit):
    meter = Meter()
    mapped = over(
        LocalCrew(2, places),
        poisoned(meter, 33),
        mode="collect",
        max_concurrency=limit,
        attempts=attempts,
        chunk_size=chunk_size,
    )
    found = run_virtual(mapped.execute(range(100)))
    (lost,) = [x for x in found if isinstance(x, Exception)]
    assert isinstance(lost, WorkerLostError)
    assert (lost.index, lost.attempts, meter.begun[33]) == (33, attempts, attempts)
    assert f"as {attempts} workers did" in str(lost)
    assert [x for x in found if x is not lost] == [x * 10 for x in range(100) if x != 33]


def test_with_one_attempt_only_what_was_under_way_is_given_up():
    meter = Meter()
    mapped = over(LocalCrew(1), poisoned(meter, 5), mode="collect", max_concurrency=3, attempts=1)
    found = run_virtual(mapped.execute(range(20)))
    lost = [x for x, given in enumerate(found) if isinstance(given, WorkerLostError)]
    assert 5 in lost
    assert len(lost) <= 3
    assert all(found[x] == x * 10 for x in range(20) if x not in lost)
    assert max(meter.begun.values()) == 1


def test_a_lost_item_fails_a_map_that_does_not_collect():
    mapped = over(LocalCrew(2), poisoned(Meter(), 5), attempts=2)
    with pytest.raises(WorkerLostError) as caught:
        run_virtual(mapped.execute(range(20)))
    assert (caught.value.index, caught.value.attempts) == (5, 2)


def test_chunks_get_smaller_with_every_loss():
    crew = LocalCrew(1)
    mapped = over(
        crew, poisoned(Meter(), 0), mode="collect", max_concurrency=640, attempts=4, chunk_size=640
    )
    run_virtual(mapped.execute(range(640)))
    assert [len(chunk.items) for _, chunk in crew.chunks if 0 in chunk.items] == [640, 80, 10, 1]


def test_an_item_for_its_last_attempt_has_its_worker_to_itself():
    crew = LocalCrew(2, 4)
    alone, before, beside = set(), [], []
    original = crew.give

    async def give(worker, chunk, package):
        if worker in alone:
            beside.append(chunk)
        if list(chunk.items) == [7]:
            before.append(len(crew.workers[worker].tasks))
            alone.add(worker)
        await original(worker, chunk, package)

    crew.give = give
    mapped = over(
        crew, poisoned(Meter(), 7), mode="collect", max_concurrency=8, attempts=2, chunk_size=5
    )
    run_virtual(mapped.execute(range(60)))
    assert before == [0]
    assert beside == []


def test_a_map_without_workers_says_so_when_none_has_come_in_time():
    async def main():
        crew = LocalCrew(2, patience_s=20)
        mapping = asyncio.ensure_future(over(crew, napping(Meter())).execute(range(8)))
        await asyncio.sleep(0.5)
        crew.kill("w0")
        crew.kill("w1")
        with pytest.raises(WorkerLostError, match="none came within 20 s") as caught:
            await mapping
        assert (caught.value.worker, caught.value.index) == ("", None)
        assert asyncio.get_running_loop().time() == 20.5
        await nobody_is_left()

    run_virtual(main)


def test_a_worker_that_comes_in_time_goes_on_with_the_map():
    async def main():
        crew = LocalCrew(1, patience_s=20)
        mapping = asyncio.ensure_future(over(crew, napping(Meter())).execute(range(8)))
        await asyncio.sleep(0.5)
        crew.kill("w0")
        await asyncio.sleep(19)
        crew.join("w1")
        return await mapping

    assert run_virtual(main) == [x * 10 for x in range(8)]


def test_workers_that_come_later_help():
    crew = LocalCrew(1)

    async def main():
        mapped = over(crew, napping(Meter()), max_concurrency=4, chunk_size=2)
        asyncio.get_running_loop().call_later(1.5, crew.join, "w9")
        return await mapped.execute(range(40))

    assert run_virtual(main) == [x * 10 for x in range(40)]
    assert sum(worker == "w9" for worker, _ in crew.chunks) > 5


def limited(meter):
    return BulkheadPrimitive(napping(meter), max_concurrent=4)


def test_a_workflow_with_a_limit_is_shared_by_no_more_workers_than_it_was_divided_among():
    crew, meter = LocalCrew(2), Meter()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1.5, crew.join, "w8")
        loop.call_later(1.5, crew.join, "w9")
        return await over(crew, limited(meter), chunk_size=4).execute(range(80))

    assert run_virtual(main) == [x * 10 for x in range(80)]
    assert {worker for worker, _ in crew.chunks} == {"w0", "w1"}
    assert meter.most == 4


def test_a_worker_that_was_one_too_many_takes_the_place_of_one_that_is_lost():
    crew, meter = LocalCrew(2, patience_s=5), Meter()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1.5, crew.join, "w9")
        loop.call_later(20.5, crew.kill, "w0")
        loop.call_later(30.5, crew.kill, "w1")
        return await over(crew, limited(meter), chunk_size=4).execute(range(400))

    assert run_virtual(main) == [x * 10 for x in range(400)]
    assert {worker for worker, _ in crew.chunks} == {"w0", "w1", "w9"}
    assert meter.most == 4


def test_messages_that_come_after_their_worker_is_gone_change_nothing():
    crew, meter = LocalCrew(2), Meter()

    async def main():
        mapped = over(crew, napping(meter), max_concurrency=4, chunk_size=2)
        mapping = asyncio.ensure_future(mapped.execute(range(12)))
        await asyncio.sleep(0.5)
        worker, chunk = crew.chunks[0]
        crew.kill(worker)
        await asyncio.sleep(0.1)
        for index in chunk.items:
            crew.tell(Report(chunk.number, index, b"nonsense"))
        crew.tell(Ended(chunk.number, ValueError("late")))
        return await mapping

    assert run_virtual(main) == [x * 10 for x in range(12)]


def test_reports_that_come_twice_or_for_unknown_chunks_change_nothing():
    class Echoing(LocalCrew):
        def tell(self, event):
            super().tell(event)
            super().tell(event)
            if isinstance(event, Report):
                super().tell(Report(999, event.index, b"nonsense"))
                super().tell(Ended(998, ValueError("unknown")))

    meter = Meter()
    found = run_virtual(over(Echoing(2), napping(meter), chunk_size=3).run(range(20)))
    assert found.output == [x * 10 for x in range(20)]
    assert len(found.spans) == 21


def test_a_chunk_that_ends_without_its_reports_is_dealt_again():
    class Forgetful(LocalCrew):
        forgot = 0

        def tell(self, event):
            if isinstance(event, Report) and event.chunk == 1:
                self.forgot += 1
                return
            super().tell(event)

    crew, meter = Forgetful(2), Meter()
    assert run_virtual(over(crew, napping(meter), chunk_size=3).execute(range(9))) == [
        x * 10 for x in range(9)
    ]
    assert crew.forgot == 3
    assert sorted(meter.begun.values()) == [1] * 6 + [2] * 3


# What cannot travel


def test_an_item_that_cannot_travel_is_named():
    with pytest.raises(TravelError, match=r"^item 2 is a generator that cannot travel") as caught:
        run_virtual(over(LocalCrew(2), napping(Meter())).execute([1, 2, generated([])]))
    assert caught.value.part == "item 2"


def test_an_item_that_cannot_travel_stands_in_its_place_where_errors_do():
    items = [1, generated([]), 3, generated([])]
    mapped = over(LocalCrew(2), napping(Meter()), mode="collect", chunk_size=1)
    found = run_virtual(mapped.execute(items))
    assert [found[0], found[2]] == [10, 30]
    assert [type(found[n]) for n in (1, 3)] == [TravelError, TravelError]


def test_the_innermost_step_that_cannot_travel_is_named():
    stream = generated([])
    inner = LambdaPrimitive(lambda x: (x, stream), name="inner")
    workflow = LambdaPrimitive(lambda x: x, name="before") >> (inner | inner)
    crew = LocalCrew(2)
    with pytest.raises(TravelError, match=r"the step 'inner' \(LambdaPrimitive\) of") as caught:
        run_virtual(over(crew, workflow).execute([1]))
    assert "'inner'" in caught.value.part
    assert crew.is_closed


@pytest.mark.parametrize("where", ["state", "metadata", "tags", "baggage"])
def test_what_cannot_travel_of_the_context_is_named(where):
    context = WorkflowContext(**{where: {"plain": "1", "odd": generated([])}})
    context.baggage.pop("odd", None) if where != "baggage" else None
    with pytest.raises(TravelError, match=rf"^the run's {where}\['odd'\] is a generator"):
        run_virtual(over(LocalCrew(2), napping(Meter())).execute([1], context))


def test_backends_that_cannot_travel_are_said_to_stand_over_the_run():
    context = WorkflowContext().using(backends={"m": generated([])})
    with pytest.raises(TravelError, match="what stands over the run of 'work'"):
        run_virtual(over(LocalCrew(2), napping(Meter())).execute([1], context))


def test_items_see_what_the_context_says():
    def work(x, context):
        context.state["seen"] = context.state["seen"] + 1
        return (
            context.workflow_id,
            context.session_id,
            context.user_id,
            context.correlation_id,
            context.tags["team"],
            context.baggage["b"],
            context.trace_id_hex,
        )

    context = WorkflowContext(
        "w", "s", "u", state={"seen": 0}, tags={"team": "t"}, baggage={"b": "c"}
    )
    (found,) = run_virtual(over(LocalCrew(1), LambdaPrimitive(work)).execute([1], context))
    assert found[:3] == ("w", "s", "u")
    assert found[3] == context.correlation_id
    assert found[4:] == ("t", "c", context.trace_id_hex)
    assert context.state["seen"] == 0

"""One cassette, many callers: tasks, threads and event loops."""

import asyncio
import gc
import threading
from collections import Counter

import pytest

from tta_notebook import WorkflowContext
from tta_notebook.core.errors import CassetteMissError
from tta_notebook.llm import LLMPrimitive, Message, ModelDelta, ModelRequest, Reply, ScriptedModel
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.testing import run_virtual

REQUEST = ModelRequest("m", (Message("user", "x"),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


async def ask(cassette, model, prompt="x"):
    context = WorkflowContext().using(backends=cassette.backends)
    return await LLMPrimitive(model)(prompt, context)


def record(path, count, **options):
    async def main():
        model = ScriptedModel([Reply(f"answer {n}", **options) for n in range(count)])
        with Cassette(path) as cassette:
            return await asyncio.gather(*(ask(cassette, model) for _ in range(count)))

    return run_virtual(main)


def test_a_hundred_callers_with_one_question_get_their_own_answers_again(path):
    first = record(path, 100, delay_s=1)

    async def main():
        with Cassette(path) as cassette:
            return await asyncio.gather(*(ask(cassette, ScriptedModel([])) for _ in range(100)))

    assert run_virtual(main) == first
    assert len(set(first)) == 100


@pytest.mark.parametrize("seed", range(5))
def test_under_any_schedule_every_recording_is_given_once(path, seed):
    first = record(path, 30)

    async def main():
        with Cassette(path) as cassette:
            return await asyncio.gather(*(ask(cassette, ScriptedModel([])) for _ in range(30)))

    assert sorted(run_virtual(main, seed=seed)) == sorted(first)


def test_a_hundred_callers_share_one_repeated_recording(path):
    record(path, 1)

    async def main():
        with Cassette(path, repeat=True) as cassette:
            return await asyncio.gather(*(ask(cassette, ScriptedModel([])) for _ in range(100)))

    assert set(run_virtual(main)) == {"answer 0"}


def test_more_callers_than_recordings_are_told_so(path):
    record(path, 60)

    async def main():
        with Cassette(path) as cassette:
            asks = (ask(cassette, ScriptedModel([])) for _ in range(100))
            return await asyncio.gather(*asks, return_exceptions=True)

    kinds = Counter(type(answer).__name__ for answer in run_virtual(main))
    assert kinds == {"LLMText": 60, "CassetteMissError": 40}


def test_more_callers_than_recordings_can_be_recorded(path):
    record(path, 60)

    async def main():
        model = ScriptedModel("new")
        with Cassette(path, on_stale="record") as cassette:
            answers = await asyncio.gather(*(ask(cassette, model) for _ in range(100)))
        assert (cassette.replayed, cassette.recorded) == (60, 40)
        return answers

    assert Counter(answer == "new" for answer in run_virtual(main)) == {True: 40, False: 60}


def in_threads(work, count=4):
    """Run `work(number)` in threads that start together, each with a loop of its own."""
    barrier = threading.Barrier(count)
    results = [None] * count

    def run(number):
        barrier.wait()
        results[number] = asyncio.run(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_with_their_own_loops_record_and_replay_on_one_cassette(path):
    async def work(cassette, number):
        model = ScriptedModel([f"{number}.{n}" for n in range(50)])
        return [await ask(cassette, model) for _ in range(50)]

    with Cassette(path) as cassette:
        first = in_threads(lambda number: work(cassette, number))
    with Cassette(path) as cassette:
        again = in_threads(lambda number: work(cassette, number))
        with pytest.raises(CassetteMissError):
            asyncio.run(ask(cassette, ScriptedModel([])))
    assert Counter(sum(again, [])) == Counter(sum(first, []))  # noqa: RUF017 - short lists
    assert len(path.read_bytes().splitlines()) == 201


def test_a_cassette_goes_on_in_a_second_event_loop(path):
    record(path, 2)
    cassette = Cassette(path)
    answers = [asyncio.run(ask(cassette, ScriptedModel([]))) for _ in range(2)]
    assert answers == ["answer 0", "answer 1"]


def test_an_answer_that_is_complete_only_after_closing_is_added_to_the_file(path):
    record(path, 1)

    async def main(mode):
        cassette = Cassette(path, mode)
        backend = cassette.over(ScriptedModel(["late"]), "m", REQUEST)
        stream = backend.stream(REQUEST)
        await anext(stream)
        await ask(cassette, ScriptedModel(["punctual"]))
        cassette.close()
        async for _ in stream:
            pass
        cassette.close()

    asyncio.run(main("all"))
    text = path.read_text(encoding="utf-8")
    assert text.index("punctual") < text.index("late")
    assert "answer 0" not in text
    assert list(path.parent.iterdir()) == [path]


def test_a_stream_that_is_forgotten_gives_its_recording_back(path):
    record(path, 1)

    async def main():
        with Cassette(path) as cassette:
            request = ModelRequest("scripted", (Message("user", "x"),))
            stream = cassette.over(ScriptedModel([]), "scripted", request).stream(request)
            assert isinstance(await anext(stream), ModelDelta)
            with pytest.raises(CassetteMissError):
                await ask(cassette, ScriptedModel([]))
            del stream
            gc.collect()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return await ask(cassette, ScriptedModel([]))

    assert asyncio.run(main()) == "answer 0"


def test_a_stream_given_back_after_rewinding_is_not_given_twice(path):
    record(path, 1)

    async def main():
        with Cassette(path) as cassette:
            request = ModelRequest("scripted", (Message("user", "x"),))
            stream = cassette.over(ScriptedModel([]), "scripted", request).stream(request)
            await anext(stream)
            cassette.rewind()
            await stream.aclose()
            assert await ask(cassette, ScriptedModel([])) == "answer 0"
            with pytest.raises(CassetteMissError):
                await ask(cassette, ScriptedModel([]))

    asyncio.run(main())


def test_of_two_callers_who_both_saw_the_last_recording_the_second_is_told_so(path):
    record(path, 1)
    request = ModelRequest("scripted", (Message("user", "x"),))

    async def main():
        with Cassette(path) as cassette:
            both = [cassette.over(ScriptedModel([]), "scripted", request) for _ in range(2)]
            assert [backend.source for backend in both] == ["replay", "replay"]
            first, second = (backend.stream(request) for backend in both)
            assert "".join([delta.text async for delta in first]) == "answer 0"
            with pytest.raises(CassetteMissError, match="once more than it is recorded"):
                await anext(second)

    asyncio.run(main())

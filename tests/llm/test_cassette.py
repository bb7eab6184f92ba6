"""Cassette: what is recorded comes back, in order, and nobody is asked for it."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from contextlib import aclosing, suppress
from datetime import UTC, datetime

import pytest

from tta_notebook import WorkflowContext, capture
from tta_notebook.core.errors import (
    AuthenticationError,
    CassetteMissError,
    ConfigurationError,
    ModelError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitError,
)
from tta_notebook.llm import LLMPrimitive, LLMText, LocalBackend, ModelDelta, Reply, ScriptedModel
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.llm.embeddings import EmbeddingPrimitive
from tta_notebook.llm.usage import Usage
from tta_notebook.recovery import FallbackPrimitive, RetryPrimitive
from tta_notebook.testing import cancel_everywhere, run_virtual

USED = Usage(input_tokens=7, output_tokens=2, cached_input_tokens=3, reasoning_tokens=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "calls.jsonl"


def playing(cassette):
    return WorkflowContext().using(backends=cassette.backends)


def ask(cassette, model, prompt="x", **arguments):
    return LLMPrimitive(model, **arguments).run_sync(prompt, playing(cassette))


def recorded(path, *replies, prompt="x", **arguments):
    """Record one call per reply, and return what came of them."""
    model = ScriptedModel(list(replies))
    with Cassette(path) as cassette:
        return [outcome(cassette, model, prompt, **arguments) for _ in replies]


def outcome(cassette, model, prompt="x", **arguments):
    try:
        return ask(cassette, model, prompt, **arguments)
    except Exception as error:  # noqa: BLE001 - an outcome like another
        return error


def nobody():
    """A model that has no answer left, so that only a recording can give one."""
    return ScriptedModel([])


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]


# What comes back


def test_an_answer_comes_back_with_its_particulars_and_nobody_is_asked(path):
    (first,) = recorded(path, Reply(["Pa", "ris"], usage=USED, finish_reason="length"))
    model = nobody()
    with Cassette(path) as cassette:
        again = ask(cassette, model)
    assert type(again) is LLMText
    assert (again, again.usage, again.model, again.finish_reason) == (
        "Paris",
        USED,
        "scripted",
        "length",
    )
    assert (first.source, again.source) == ("mock", "replay")
    assert again.first_token_s is not None
    assert model.requests == []
    assert (cassette.replayed, cassette.recorded) == (1, 0)


def test_usage_that_nobody_reported_is_estimated_in_the_same_way_again(path):
    (first,) = recorded(path, "some words of an answer")
    with Cassette(path) as cassette:
        again = ask(cassette, nobody())
    assert first.usage == again.usage
    assert again.usage.estimated


def test_a_stream_comes_back_in_its_pieces(path):
    async def pieces(model):
        with Cassette(path) as cassette:
            context = playing(cassette)
            chunks = [c async for c in LLMPrimitive(model).stream("x", context)]
        return [(c.content, c.chunk_index) for c in chunks], chunks[-1].metadata["output"]

    first = asyncio.run(pieces(ScriptedModel([["a", " b", "", "c"]])))
    assert asyncio.run(pieces(nobody())) == first
    assert first[1] == "a bc"


def test_a_typed_output_comes_back_typed(path):
    recorded(path, '{"value": [1, 2]}', output=list[int])
    with Cassette(path) as cassette:
        assert ask(cassette, nobody(), output=list[int]) == [1, 2]


def test_the_trace_says_that_it_is_a_replay_and_who_served_it(path):
    recorded(path, Reply("a", usage=USED))
    with Cassette(path) as cassette, capture() as spans:
        ask(cassette, nobody())
    (note,) = spans[0].noted("model")
    assert (note.data["source"], note.data["served"]) == ("replay", "scripted")
    assert spans[0].usage == USED


def test_a_replay_carries_the_day_whose_prices_hold(path):
    recorded(path, "a")
    line = path.read_text(encoding="utf-8")
    today = datetime.now(UTC).date().isoformat()
    assert f'"recorded_at": "{today}"' in line
    path.write_text(line.replace(today, "2020-02-29"), encoding="utf-8")
    request = ScriptedModel("x")
    asyncio.run(LLMPrimitive(request, name="ask").execute("x"))

    async def deltas():
        backend = Cassette(path).over(nobody(), "scripted", request.requests[0])
        assert (backend.source, backend.provider) == ("replay", "scripted")
        assert backend.recorded_source == "mock"
        return [delta async for delta in backend.stream(request.requests[0])]

    assert asyncio.run(deltas())[0].price_date.isoformat() == "2020-02-29"


def test_it_replays_without_the_original_timing_unless_a_speed_is_given(path):
    async def timed(model, **arguments):
        with Cassette(path, **arguments) as cassette:
            start = asyncio.get_running_loop().time()
            answer = await LLMPrimitive(model)("x", playing(cassette))
            return asyncio.get_running_loop().time() - start, answer.first_token_s

    live = run_virtual(lambda: timed(ScriptedModel([Reply(["a", "b"], delay_s=2)])))
    assert live == (4, 2)
    assert run_virtual(lambda: timed(nobody())) == (0, 0)
    assert run_virtual(lambda: timed(nobody(), speed=1)) == pytest.approx((4, 2))
    assert run_virtual(lambda: timed(nobody(), speed=2.0)) == pytest.approx((2, 1))


def test_a_model_needs_neither_key_nor_weights_to_be_replayed(path, monkeypatch, tmp_path):
    stand_in = ScriptedModel("hello")
    for name in ("openai:gpt-5", "local"):
        with Cassette(path.with_name(f"{name[:3]}.jsonl")) as cassette:
            ask(cassette, name, backend=stand_in)
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("TTA_LOCAL_MODEL", str(tmp_path / "nothing.gguf"))
    for name in ("openai:gpt-5", "local"):
        with Cassette(path.with_name(f"{name[:3]}.jsonl"), "none") as cassette:
            answer = ask(cassette, name)
        assert (answer, answer.requested_model, answer.source) == ("hello", name, "replay")


def test_a_key_an_address_and_headers_are_no_part_of_the_request(path):
    secret = {"api_key": "k" * 30, "base_url": "http://me:pass@here", "headers": {"x": "y"}}
    recorded(path, "a", top_p=0.5, **secret)
    text = path.read_text(encoding="utf-8")
    assert "kkk" not in text
    assert "pass@" not in text
    assert records(path)[0]["request"]["settings"] == {"top_p": 0.5}
    with Cassette(path) as cassette:
        assert ask(cassette, nobody(), top_p=0.5) == "a"


def test_a_setting_that_json_cannot_hold_counts_by_its_type(path):
    recorded(path, "a", client=object(), when=float("nan"), tags=("b", 1))
    assert records(path)[0]["request"]["settings"] == {
        "client": "<object>",
        "when": "<float>",
        "tags": ["b", 1],
    }
    with Cassette(path) as cassette:
        assert ask(cassette, nobody(), client=object(), when=float("nan"), tags=("b", 1)) == "a"


# Order


def test_equal_requests_get_their_recordings_in_order_each_of_them_once(path):
    recorded(path, "one", "two", "three")
    with Cassette(path) as cassette:
        assert [ask(cassette, nobody()) for _ in range(3)] == ["one", "two", "three"]
        with pytest.raises(CassetteMissError, match=r"once more than it is recorded \(3 times\)"):
            ask(cassette, nobody())


def test_rewinding_begins_again(path):
    recorded(path, "one", "two")
    with Cassette(path) as cassette:
        for _ in range(2):
            assert [ask(cassette, nobody()) for _ in range(2)] == ["one", "two"]
            cassette.rewind()


def test_each_opening_begins_again(path):
    recorded(path, "one", "two")
    cassette = Cassette(path)
    for _ in range(2):
        with cassette:
            assert ask(cassette, nobody()) == "one"


def test_a_repeating_cassette_begins_again_after_the_last(path):
    recorded(path, "one", "two")
    with Cassette(path, repeat=True) as cassette:
        assert [ask(cassette, nobody()) for _ in range(5)] == ["one", "two", "one", "two", "one"]


def test_what_ended_later_but_was_asked_earlier_comes_first(path):
    async def main(model):
        with Cassette(path) as cassette:
            asks = (LLMPrimitive(model)("x", playing(cassette)) for _ in range(2))
            return await asyncio.gather(*asks)

    slow, fast = Reply("slow", delay_s=2), Reply("fast", delay_s=1)
    assert run_virtual(lambda: main(ScriptedModel([slow, fast]))) == ["slow", "fast"]
    assert [record["call"] for record in records(path)] == [1, 0]
    assert run_virtual(lambda: main(nobody())) == ["slow", "fast"]


# Modes


def test_once_records_what_comes_while_there_is_no_file_also_when_it_is_asked_twice(path):
    assert recorded(path, "one", "two") == ["one", "two"]
    assert len(records(path)) == 2


def test_once_with_a_file_asks_nobody(path):
    recorded(path, "a")
    model = ScriptedModel(["new"])
    with Cassette(path) as cassette, pytest.raises(CassetteMissError):
        ask(cassette, model, "another question")
    assert model.requests == []
    assert len(records(path)) == 1


def test_once_can_add_what_is_missing(path):
    recorded(path, "a")
    for model in (ScriptedModel(["b"]), nobody()):
        with Cassette(path, on_stale="record") as cassette:
            assert [ask(cassette, model, prompt) for prompt in ("x", "y")] == ["a", "b"]
    assert [record["call"] for record in records(path)] == [0, 1]


def test_an_empty_file_is_no_recording(path):
    path.parent.mkdir()
    path.touch()
    recorded(path, "a")
    assert len(records(path)) == 1


def test_none_asks_nobody_even_without_a_file(path):
    model = ScriptedModel(["new"])
    with (
        Cassette(path, "none") as cassette,
        pytest.raises(CassetteMissError, match="no such file"),
    ):
        ask(cassette, model)
    assert model.requests == []
    assert not path.exists()


def test_all_asks_every_time_and_replaces_the_file_when_it_closes(path):
    recorded(path, "old", "older")
    with Cassette(path, "all") as cassette:
        assert ask(cassette, ScriptedModel(["new"])) == "new"
        assert [record["chunks"][0][1] for record in records(path)] == ["old", "older"]
        (beside,) = path.parent.glob("calls.jsonl.*.new")
        assert len(records(beside)) == 1
    assert [record["chunks"][0][1] for record in records(path)] == ["new"]
    assert list(path.parent.iterdir()) == [path]


def test_all_leaves_the_file_if_nothing_was_recorded(path):
    recorded(path, "old")
    with Cassette(path, "all"):
        pass
    assert len(records(path)) == 1


def test_what_was_just_recorded_can_be_replayed_after_rewinding(path):
    with Cassette(path) as cassette:
        ask(cassette, ScriptedModel(["a"]))
        cassette.rewind()
        assert ask(cassette, nobody()).source == "replay"


def test_nothing_is_touched_before_the_first_use_and_closing_twice_is_closing_once(path):
    cassette = Cassette(path)
    assert repr(cassette) == f"Cassette({str(path)!r}, mode='once')"
    assert not path.parent.exists()
    cassette.close()
    cassette.close()
    assert not path.parent.exists()


def test_it_works_in_an_async_block(path):
    async def main():
        async with Cassette(path) as cassette:
            return await LLMPrimitive(ScriptedModel(["a"]))("x", playing(cassette))

    assert asyncio.run(main()) == "a"
    assert len(records(path)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "onec"}, "did you mean 'once'"),
        ({"on_stale": "ask"}, "'raise', 'record'"),
        ({"mode": "none", "on_stale": "record"}, "never records"),
        ({"mode": "all", "on_stale": "record"}, "always does"),
        ({"match": ["mesages"]}, "did you mean 'messages'"),
        ({"match": "mesages"}, "did you mean 'messages'"),
        ({"speed": 0}, "speed=0"),
        ({"speed": float("nan")}, "speed=nan"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(path, arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        Cassette(path, **arguments)


# Failures


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError(
            "slow down", model="m", provider="p", status_code=429, retry_after=2.5, headers={"a": 1}
        ),
        ModelUnavailableError("gone", model="m", status_code=503),
        ModelRequestError("too long", model="m", status_code=400),
        ModelTimeoutError("late", model="m"),
        ModelError("odd", model="m", retryable=True),
        TimeoutError("late"),
        ConnectionResetError("lost"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("said", ["", "half an"])
def test_a_failure_comes_back_as_it_was(path, error, said):
    recorded(path, Reply(said, error=error))
    with Cassette(path) as cassette:
        again = outcome(cassette, nobody())
    assert type(again) is type(error)
    assert str(again) == str(error)
    for fact in ("model", "provider", "status_code", "retryable", "retry_after"):
        assert getattr(again, fact, None) == getattr(error, fact, None)
    assert "Replayed from" in again.__notes__[0]
    assert getattr(again, "headers", {}) == {}


def test_a_failure_before_any_answer_is_told_from_one_after_it(path):
    def refuse(request):
        raise RateLimitError("slow down", model="m")

    error = RateLimitError("slow down", model="m")
    recorded(path, refuse, Reply("half", error=error))
    with Cassette(path) as cassette, capture() as spans:
        for _ in range(2):
            outcome(cassette, nobody())
    used = [span.noted("model")[0].data["usage"] for span in spans]
    assert used[0] is None
    assert used[1].estimated


def test_an_error_of_another_package_comes_back_as_a_model_error(path):
    class OddError(Exception):
        retryable = True
        status_code = 599

    recorded(path, Reply(error=OddError("hm")))
    with Cassette(path) as cassette:
        again = outcome(cassette, nobody())
    assert (type(again), str(again)) == (ModelError, "OddError: hm")
    assert (again.retryable, again.status_code) == (True, 599)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no key", model="m"),
        ConfigurationError("not installed"),
        KeyError("a bug"),
        FileNotFoundError("weights"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_mended_on_this_machine_is_not_recorded(path, error):
    assert type(recorded(path, error)[0]) is type(error)
    assert not path.exists()
    assert recorded(path, "works now") == ["works now"]


def test_a_retry_goes_through_the_recorded_failure_to_the_recorded_answer(path):
    def run(model):
        with Cassette(path) as cassette:
            step = RetryPrimitive(LLMPrimitive(model), max_retries=2)
            return run_virtual(lambda: step("x", playing(cassette)))

    busy = RateLimitError("slow down", model="m", retry_after=3)
    assert run(ScriptedModel([Reply(error=busy), "Paris"])) == "Paris"
    assert run(nobody()) == "Paris"


def test_a_missing_recording_is_not_retried(path):
    with Cassette(path, "none") as cassette, capture() as spans, suppress(CassetteMissError):
        RetryPrimitive(LLMPrimitive(nobody())).run_sync("x", playing(cassette))
    assert len([span for span in spans if span.kind == "llm"]) == 1


def test_a_fallback_replays_both_its_levels(path):
    def run(first, second):
        with Cassette(path) as cassette:
            step = FallbackPrimitive(LLMPrimitive(first), [LLMPrimitive(second)])
            return step.run_sync("x", playing(cassette))

    down = ModelUnavailableError("down", model="big")
    models = [ScriptedModel([Reply(error=down)], name="big"), ScriptedModel(["ok"], name="small")]
    assert run(*models) == "ok"
    assert run(ScriptedModel([], name="big"), ScriptedModel([], name="small")) == "ok"


# What is not read to its end


def test_a_half_read_stream_is_not_recorded(path):
    async def main():
        with Cassette(path) as cassette:
            context = playing(cassette)
            chunks = LLMPrimitive(ScriptedModel([["a", "b"]])).stream("x", context)
            async with aclosing(chunks):
                async for _ in chunks:
                    break

    asyncio.run(main())
    assert not path.exists()


def test_a_half_replayed_stream_is_not_used_up(path):
    recorded(path, ["a", "b"])

    async def main():
        with Cassette(path) as cassette:
            chunks = LLMPrimitive(nobody()).stream("x", playing(cassette))
            async with aclosing(chunks):
                async for _ in chunks:
                    break
            return await LLMPrimitive(nobody())("x", playing(cassette))

    assert asyncio.run(main()) == "ab"


def test_a_recording_that_nobody_began_to_read_is_not_used_up(path):
    class Refusing:
        counts_replays = True

        async def reserve(self, call):
            raise ConfigurationError("no")

    recorded(path, "a")
    with Cassette(path) as cassette:
        context = playing(cassette).using(guards=(Refusing(),))
        with suppress(ConfigurationError):
            LLMPrimitive(nobody()).run_sync("x", context)
        assert ask(cassette, nobody()) == "a"


def test_recording_can_be_cancelled_anywhere_and_then_leaves_no_half_answer(path):
    def fresh():
        path.unlink(missing_ok=True)
        return record()

    async def record():
        with Cassette(path) as cassette:
            model = ScriptedModel([Reply(["a", "b", "c"], delay_s=1)])
            return await LLMPrimitive(model)("x", playing(cassette))

    def check(run):
        assert not path.exists() or [text for _, text in records(path)[0]["chunks"]] == [*"abc"]

    assert cancel_everywhere(fresh, check=check).suspensions == 3


@pytest.mark.parametrize("speed", [None, 1.0])
def test_a_replay_can_be_cancelled_anywhere_and_is_then_not_used_up(path, speed):
    recorded(path, ["a", "b", "c"])
    cassettes = []

    async def replay():
        cassettes.append(Cassette(path, speed=speed))
        return await LLMPrimitive(nobody())("x", playing(cassettes[-1]))

    def check(run):
        if run.outcome == "cancelled":
            assert ask(cassettes[-1], nobody()) == "abc"

    assert cancel_everywhere(replay, check=check).suspensions >= 4


# Embeddings


class Embedder:
    name = "lengths"

    def __init__(self):
        self.calls = 0

    async def embed(self, texts):
        self.calls += 1
        return [[len(text) / 3, 0.1, -1e-300] for text in texts]

    async def count_tokens(self, texts):
        return 10 * len(texts)


def test_vectors_and_their_tokens_come_back_exactly(path):
    def run(embedder):
        async def main():
            with Cassette(path) as cassette:
                step = EmbeddingPrimitive(embedder, batch_size=2)
                return await step.run(["a", "bb", "ccc"], playing(cassette))

        return asyncio.run(main())

    one, other = Embedder(), Embedder()
    first, again = run(one), run(other)
    assert first.output == again.output
    assert (first.usage, again.usage) == (Usage(input_tokens=30), Usage(input_tokens=30))
    assert (one.calls, other.calls) == (2, 0)


def test_tokens_are_recorded_although_nobody_watches(path):
    with Cassette(path) as cassette:
        EmbeddingPrimitive(Embedder()).run_sync("a", playing(cassette))
    assert records(path)[0]["usage"] == {"input_tokens": 10}


def test_a_function_that_cannot_count_has_no_usage_either_time(path):
    for function in (lambda texts: [[1.0]] * len(texts), lambda texts: []):
        function.__name__ = "one"
        with Cassette(path) as cassette:
            run = asyncio.run(EmbeddingPrimitive(function).run("a", playing(cassette)))
        assert (run.output, run.usage) == ([1.0], None)


def test_an_embedder_s_failure_comes_back_and_odd_vectors_are_not_recorded(path):
    def lost(texts):
        raise ConnectionResetError("lost")

    for function in (lost, len):
        step = EmbeddingPrimitive(function)
        step.model = "m"
        with Cassette(path) as cassette, pytest.raises(ConnectionResetError, match="lost"):
            step.run_sync("a", playing(cassette))
    other = path.with_name("other.jsonl")
    with Cassette(other) as cassette, suppress(ValueError):
        EmbeddingPrimitive(lambda texts: [["x"]]).run_sync("a", playing(cassette))
    assert not other.exists()


def test_an_embedding_can_be_cancelled_anywhere(path):
    async def slow(texts):
        await asyncio.sleep(1)
        return [[1.0]] * len(texts)

    def run():
        path.unlink(missing_ok=True)
        step = EmbeddingPrimitive(slow)
        return step("x", playing(Cassette(path)))

    assert cancel_everywhere(run).suspensions == 1
    assert cancel_everywhere(lambda: EmbeddingPrimitive(slow)("x", playing(Cassette(path))))


def test_a_run_s_chat_backend_leaves_embedders_alone_and_an_embedder_takes_their_place():
    step = EmbeddingPrimitive(lambda texts: [[1.0]] * len(texts))
    chat = WorkflowContext().using(backends={"*": ScriptedModel("a")})
    assert step.run_sync("x", chat) == [1.0]
    other = WorkflowContext().using(backends={"*": Embedder()})
    assert step.run_sync("xxx", other) == [1.0, 0.1, -1e-300]


# Beside other things


def test_only_a_backend_that_can_count_tokens_seems_to_count_them(path):
    class Counting:
        name = "counting"

        async def stream(self, request):
            yield ModelDelta("a")

        async def count_input_tokens(self, request):
            return 1234

    request = ScriptedModel("x")
    LLMPrimitive(request).run_sync("x")
    cassette = Cassette(path)
    over = cassette.over(Counting(), "m", request.requests[0])
    assert asyncio.run(over.count_input_tokens(request.requests[0])) == 1234
    assert not hasattr(cassette.over(ScriptedModel("a"), "m", request.requests[0]), "count_tokens")


def test_a_recording_made_under_a_budget_replays_without_it(path):
    class Tight:
        max_output_tokens = 5

        async def reserve(self, call):
            return self

        def settle(self, usage):
            """Nothing to do."""

        def release(self):
            """Nothing to do."""

    model = ScriptedModel(["a"])
    with Cassette(path) as cassette:
        LLMPrimitive(model).run_sync("x", playing(cassette).using(guards=(Tight(),)))
    assert model.requests[0].max_output_tokens == 5
    with Cassette(path) as cassette:
        assert ask(cassette, nobody()) == "a"


# The real model

STORY = "Name three colours."
REPLAY = """
    import sys
    from tta_notebook import WorkflowContext
    from tta_notebook.llm import LLMPrimitive
    from tta_notebook.llm.cassettes.cassette import Cassette

    with Cassette(sys.argv[1], "none") as cassette:
        context = WorkflowContext().using(backends=cassette.backends)
        llm = LLMPrimitive("local", max_output_tokens=16, temperature=0)
        answer = llm.run_sync(sys.argv[2], context)
    print(repr((str(answer), answer.usage, answer.model, answer.source)))
    print(sorted(name for name in sys.modules if name.split(".")[0] in ("httpx", "xllamacpp")))
"""


@pytest.mark.local_model
def test_the_local_model_is_replayed_in_a_process_without_its_weights(path, weights, tmp_path):
    with Cassette(path) as cassette:
        first = ask(cassette, "local", STORY, max_output_tokens=16, temperature=0)
    assert records(path)[0]["source"] == "local"
    environment = {**os.environ, "TTA_HOME": str(tmp_path / "elsewhere")}
    environment.pop("TTA_LOCAL_MODEL", None)
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLAY), str(path), STORY],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    ).stdout.splitlines()
    assert shown == [repr((str(first), first.usage, first.model, "replay")), "[]"]


@pytest.mark.local_model
def test_recording_leaves_the_local_model_s_exact_count_of_tokens(path, weights):
    request = ScriptedModel("x")
    LLMPrimitive(request).run_sync(STORY)
    backend = LocalBackend()
    over = Cassette(path).over(backend, "local", request.requests[0])

    async def main():
        return [await each.count_input_tokens(request.requests[0]) for each in (backend, over)]

    own, counted = asyncio.run(main())
    assert own == counted > 10


def test_inside_its_block_a_cassette_serves_every_run_and_no_longer(tmp_path):
    path = tmp_path / "calls.jsonl"
    step = LLMPrimitive(ScriptedModel(["one", "two"]))
    with Cassette(path):
        assert step.run_sync("x").source == "mock"
    with Cassette(path) as outer:
        with Cassette(tmp_path / "other.jsonl"):
            assert step.run_sync("x") == "two"
        assert step.run_sync("x").source == "replay"
        assert outer.replayed == 1
    with pytest.raises(ModelRequestError):  # the script is used up, and nothing stands in for it
        step.run_sync("x")

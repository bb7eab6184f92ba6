"""The embedded model, for real: a child process, HTTP, tokens."""

import asyncio
import json
import os
import signal
import time
import urllib.request
from typing import Literal, TypedDict

import pytest

from tta_notebook import capture
from tta_notebook.core.errors import (
    LocalModelMissingError,
    ModelRequestError,
    ModelUnavailableError,
    RateLimitError,
)
from tta_notebook.llm import LLMPrimitive, LocalBackend, Message, ModelRequest
from tta_notebook.llm.local.server import ServerConfig, server_for


class Weather(TypedDict):
    sky: Literal["sunny", "cloudy"]
    rains: bool


ONE_SLOT = ServerConfig(slots=1, context_tokens=1024)
STORY = "Tell a very long story about a dog and a cat."


def local(**arguments):
    return LLMPrimitive("local", temperature=0, **{"max_output_tokens": 24, **arguments})


def busy_slots(server):
    headers = {"authorization": f"Bearer {server.key}"}
    request = urllib.request.Request(f"{server.url}/slots", headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return sum(slot["is_processing"] for slot in json.load(answer))


async def until_free(server, patience_s):
    end = time.monotonic() + patience_s
    while await asyncio.to_thread(busy_slots, server):
        assert time.monotonic() < end, "the slot was not freed"
        await asyncio.sleep(0.01)


# What it gives


@pytest.mark.local_model
def test_an_answer_has_exact_usage_and_says_where_it_comes_from(weights):
    answer = local().run_sync("List three colours.")
    assert answer.strip()
    assert not answer.usage.estimated
    assert answer.usage.output_tokens == 24
    assert answer.usage.input_tokens == 34
    assert (answer.source, answer.requested_model, answer.model) == ("local", "local", weights.stem)
    assert answer.finish_reason == "length"
    assert answer.first_token_s > 0


@pytest.mark.local_model
def test_a_repeated_prompt_is_served_from_the_cache(weights):
    llm = LLMPrimitive("local", backend=LocalBackend(config=ONE_SLOT), max_output_tokens=2)
    prompt = "Which of these animals is the largest: a mouse, a whale, a horse?"
    llm.run_sync(prompt)
    assert llm.run_sync(prompt).usage.cached_input_tokens > 20


@pytest.mark.local_model
def test_a_stream_gives_the_same_text_piece_by_piece(weights):
    async def main():
        return [chunk async for chunk in local(seed=1).stream("Count to five.")]

    chunks = asyncio.run(main())
    assert len(chunks) > 5
    assert "".join(chunk.content for chunk in chunks) == chunks[-1].metadata["output"]


@pytest.mark.local_model
def test_a_seed_makes_sampling_repeatable(weights):
    llm = LLMPrimitive("local", temperature=1.0, seed=7, max_output_tokens=12)
    assert llm.run_sync("Name a fruit.") == llm.run_sync("Name a fruit.")


@pytest.mark.local_model
def test_a_stop_text_ends_the_answer(weights):
    answer = local(stop="2").run_sync("Count: 1, 2, 3")
    assert "2" not in answer


@pytest.mark.local_model
def test_output_fits_the_schema(weights):
    answer = local(output=Weather, max_output_tokens=96).run_sync("The weather: sunny, no rain.")
    assert answer["sky"] in {"sunny", "cloudy"}
    assert isinstance(answer["rains"], bool)


@pytest.mark.local_model
def test_tokens_are_counted_exactly_before_the_call(weights):
    async def main():
        backend = LocalBackend()
        messages = (Message("system", "Be brief."), Message("user", "List three colours."))
        counted = await backend.count_input_tokens(ModelRequest("local", messages))
        answer = await local(system="Be brief.", max_output_tokens=1)("List three colours.")
        return counted, answer.usage.input_tokens

    counted, used = asyncio.run(main())
    assert counted == used


# Many at once


@pytest.mark.local_model
def test_more_calls_than_slots_wait_in_line(weights):
    async def main():
        llm = local(max_output_tokens=4)
        return await asyncio.gather(*(llm(f"Say {number}.") for number in range(20)))

    answers = asyncio.run(main())
    assert len(answers) == 20
    assert all(not answer.usage.estimated for answer in answers)


@pytest.mark.local_model
def test_loops_in_turn_and_in_threads_share_the_server(weights):
    async def main():
        return await asyncio.gather(
            *(asyncio.to_thread(local(max_output_tokens=2).run_sync, "Hi") for _ in range(3))
        )

    assert len(asyncio.run(main())) == 3
    assert local(max_output_tokens=2).run_sync("Hi")


# Cancelling


@pytest.mark.local_model
def test_a_cancelled_call_frees_its_slot_and_is_booked_by_estimate(weights):
    async def main():
        server = await server_for(weights, ONE_SLOT)
        backend = LocalBackend(config=ONE_SLOT)
        llm = LLMPrimitive("local", backend=backend, max_output_tokens=900, ignore_eos=True)
        with capture() as spans:
            call = llm.start(STORY)
            while not (call.spans and call.spans[0].text):  # noqa: ASYNC110 - a record has no event
                await asyncio.sleep(0.005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await until_free(server, 2)
        return spans[0]

    span = asyncio.run(main())
    assert span.status == "cancelled"
    assert span.usage.estimated
    assert span.usage.output_tokens > 0


@pytest.mark.local_model
def test_leaving_a_stream_frees_the_slot_for_the_next_call(weights):
    async def main():
        backend = LocalBackend(config=ONE_SLOT)
        llm = LLMPrimitive("local", backend=backend, max_output_tokens=900, ignore_eos=True)
        stream = llm.stream(STORY)
        await anext(stream)
        await stream.aclose()
        start = time.monotonic()
        await LLMPrimitive("local", backend=backend, max_output_tokens=2)("Hi")
        return time.monotonic() - start

    # 900 tokens take ten seconds here; on any machine much longer than two.
    assert asyncio.run(main()) < 5


@pytest.mark.local_model
def test_a_call_cancelled_while_its_prompt_is_read_frees_the_slot(weights):
    async def main():
        server = await server_for(weights, ServerConfig())
        call = asyncio.create_task(local()("dog bat mouse river " * 600))
        while not await asyncio.to_thread(busy_slots, server):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # The whole prompt would take 20 s here.
        await until_free(server, 8)

    asyncio.run(main())


@pytest.mark.local_model
def test_a_call_cancelled_in_the_line_never_reaches_the_server(weights):
    async def main():
        backend = LocalBackend(config=ONE_SLOT)
        llm = LLMPrimitive("local", backend=backend, max_output_tokens=40, ignore_eos=True)
        first = asyncio.create_task(llm(STORY))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(llm(STORY))
        await asyncio.sleep(0.05)
        waiting.cancel()
        answer = await first
        assert waiting.cancelled() or waiting.cancelling()
        return answer

    assert asyncio.run(main()).usage.output_tokens == 40


# What goes wrong


@pytest.mark.local_model
def test_a_server_that_dies_mid_stream_is_a_retryable_error_and_is_replaced(weights):
    config = ServerConfig(slots=1, context_tokens=800)

    async def main():
        server = await server_for(weights, config)
        backend = LocalBackend(config=config)
        llm = LLMPrimitive("local", backend=backend, max_output_tokens=700, ignore_eos=True)
        stream = llm.stream(STORY)
        await anext(stream)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ModelUnavailableError, match="ended by signal 9") as caught:
            async for _ in stream:
                pass
        again = await LLMPrimitive("local", backend=backend, max_output_tokens=2)("Hi")
        (await server_for(weights, config)).stop()
        return caught.value, again

    error, again = asyncio.run(main())
    assert error.retryable
    assert again


@pytest.mark.local_model
def test_a_prompt_longer_than_the_context_is_refused(weights):
    backend = LocalBackend(config=ONE_SLOT)
    with pytest.raises(ModelRequestError, match="context") as caught:
        LLMPrimitive("local", backend=backend).run_sync("dog " * 3000)
    assert caught.value.status_code == 400
    assert not caught.value.retryable


# A server of the user's own


def chat_events(*events):
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([": a comment\n\n", *lines, "data: [DONE]\n\n"]).encode()


HELLO = chat_events(
    {"model": "own", "choices": [{"delta": {"content": "Hello"}, "finish_reason": None}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
)


def test_a_url_in_place_of_weights_is_asked_for_the_named_model(loopback, monkeypatch):
    loopback.answers(200, HELLO)
    monkeypatch.setenv("TTA_LOCAL_MODEL", f"{loopback.url}#qwen3")
    answer = LLMPrimitive("local").run_sync("Hi")
    path, headers, body = loopback.requests[0]
    assert (path, body["model"]) == ("/v1/chat/completions", "qwen3")
    assert "authorization" not in {name.lower() for name in headers}
    assert (answer, answer.model, answer.usage.total_tokens) == ("Hello", "own", 6)


def test_a_failure_reported_inside_the_stream_is_an_error_of_its_status(loopback, monkeypatch):
    loopback.answers(200, chat_events({"error": {"code": 503, "message": "loading"}}))
    monkeypatch.setenv("TTA_LOCAL_MODEL", f"{loopback.url}/v1#m")
    with pytest.raises(ModelUnavailableError, match="loading") as caught:
        LLMPrimitive("local").run_sync("Hi")
    assert caught.value.status_code == 503


def test_an_answer_that_breaks_off_is_no_answer(loopback, monkeypatch):
    loopback.answers(200, b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n')
    monkeypatch.setenv("TTA_LOCAL_MODEL", f"{loopback.url}#m")
    with pytest.raises(ModelUnavailableError, match="broke off"):
        LLMPrimitive("local").run_sync("Hi")


def test_a_busy_server_of_the_users_own_is_a_rate_limit(loopback, monkeypatch):
    loopback.answers(429, {"error": {"message": "busy"}}, retry_after="3")
    monkeypatch.setenv("TTA_LOCAL_MODEL", f"{loopback.url}#m")
    with pytest.raises(RateLimitError, match="busy") as caught:
        LLMPrimitive("local").run_sync("Hi")
    assert caught.value.retry_after == 3


def test_a_server_that_is_not_there_is_unavailable(loopback, monkeypatch):
    monkeypatch.setenv("TTA_LOCAL_MODEL", "http://127.0.0.1:9#m")
    with pytest.raises(ModelUnavailableError, match="Check that the server runs") as caught:
        LLMPrimitive("local").run_sync("Hi")
    assert caught.value.retryable


def test_building_the_step_needs_no_model_and_running_it_names_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv("TTA_LOCAL_MODEL", raising=False)
    monkeypatch.setenv("TTA_HOME", str(tmp_path))
    llm = LLMPrimitive("local")
    with pytest.raises(LocalModelMissingError, match="tta local install"):
        llm.run_sync("Hi")
    assert list(tmp_path.iterdir()) == []

"""Hosted models: the wires over real HTTP, and what providers refuse."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

import pytest

from tta_notebook import capture
from tta_notebook.core.errors import (
    AuthenticationError,
    ModelError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitError,
)
from tta_notebook.llm import LLMPrimitive
from tta_notebook.llm.backends.http_errors import retry_after_s

# A model name each provider's package takes for one that knows schemas.
WIRES = {
    "openai": ("openai:smol", "/v1"),
    "openai-responses": ("openai-responses:smol", "/v1"),
    "anthropic": ("anthropic:claude-smol", ""),
    "ollama": ("ollama:smol", "/v1"),
}
ALL = {**WIRES, "google": ("google:gemini-smol", "")}


def asking(wire, base, **arguments):
    model, path = ALL[wire]
    stated = {"api_key": "key", "max_output_tokens": 16, **arguments}
    return LLMPrimitive(model, base_url=base + path, **stated)


def failing(wire, loopback, **arguments):
    with pytest.raises(ModelError) as caught:
        asking(wire, loopback.url, **arguments).run_sync("Hi")
    return caught.value


# The wires, against the embedded model's server


@pytest.mark.local_model
@pytest.mark.parametrize("wire", WIRES)
def test_a_wire_carries_text_usage_and_the_served_model(wire, server):
    llm = asking(wire, server.url, api_key=server.key, temperature=0, system="Be brief.")
    answer = llm.run_sync("Name a colour.")
    assert answer.strip()
    assert not answer.usage.estimated
    assert answer.usage.input_tokens > 20
    assert 0 < answer.usage.output_tokens <= 16
    assert (answer.source, answer.model) == ("live", server.path.stem)
    assert answer.finish_reason in {"stop", "length"}


@pytest.mark.local_model
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
def test_a_wire_carries_a_conversation(wire, server):
    async def tokens_of(*messages):
        llm = asking(wire, server.url, api_key=server.key, max_output_tokens=1)
        return (await llm(list(messages))).usage.input_tokens

    async def main():
        question = ("user", "Name a colour.")
        return (
            await tokens_of(question),
            await tokens_of(("user", "Hi"), ("assistant", "Hello."), question),
        )

    short, long = asyncio.run(main())
    assert long > short + 8


@pytest.mark.local_model
@pytest.mark.parametrize("wire", WIRES)
def test_a_wire_streams(wire, server):
    async def main():
        llm = asking(wire, server.url, api_key=server.key, temperature=0)
        return [chunk async for chunk in llm.stream("Count to five.")]

    chunks = asyncio.run(main())
    assert len(chunks) > 3
    assert "".join(chunk.content for chunk in chunks) == chunks[-1].metadata["output"]


@pytest.mark.local_model
@pytest.mark.parametrize("wire", ["openai", "ollama"])
def test_a_wire_carries_a_schema(wire, server):
    colour = Literal["red", "blue"]
    llm = asking(wire, server.url, api_key=server.key, output=colour, max_output_tokens=64)
    assert llm.run_sync("The colour of the sky?") in {"red", "blue"}


@pytest.mark.local_model
@pytest.mark.parametrize("wire", WIRES)
def test_a_wrong_key_is_refused(wire, server):
    with pytest.raises(AuthenticationError) as caught:
        asking(wire, server.url, api_key="wrong").run_sync("Hi")
    assert caught.value.status_code == 401


@pytest.mark.local_model
def test_a_cancelled_stream_is_booked_by_estimate(server):
    async def main():
        llm = asking("openai", server.url, api_key=server.key, max_output_tokens=500)
        with capture() as spans:
            stream = llm.stream("Tell a very long story.")
            await anext(stream)
            await stream.aclose()
        return spans[0]

    assert asyncio.run(main()).usage.estimated


@pytest.mark.local_model
def test_one_step_serves_several_loops_and_calls_at_once(server):
    llm = asking("openai", server.url, api_key=server.key, max_output_tokens=2)

    async def main():
        return await asyncio.gather(*(llm("Hi") for _ in range(6)))

    assert len(asyncio.run(main()) + asyncio.run(main())) == 12


# What is refused


@pytest.mark.parametrize("wire", ALL)
@pytest.mark.parametrize(
    ("status", "error_type", "retryable"),
    [
        (400, ModelRequestError, False),
        (401, AuthenticationError, False),
        (403, AuthenticationError, False),
        (404, ModelRequestError, False),
        (422, ModelRequestError, False),
        (429, RateLimitError, True),
        (500, ModelUnavailableError, True),
        (503, ModelUnavailableError, True),
        (504, ModelTimeoutError, True),
        (529, RateLimitError, True),
    ],
)
def test_a_refusal_is_an_error_of_our_tree(wire, status, error_type, retryable, loopback):
    loopback.answers(status, {"error": {"message": "because", "code": status, "status": "X"}})
    error = failing(wire, loopback)
    assert type(error) is error_type
    assert (error.status_code, error.retryable) == (status, retryable)
    assert error.provider == wire
    assert "because" in str(error)


@pytest.mark.parametrize("wire", ALL)
def test_a_refused_call_is_made_once(wire, loopback):
    loopback.answers(503, {"error": {"message": "later"}})
    failing(wire, loopback)
    assert len(loopback.requests) == 1


@pytest.mark.parametrize("wire", ["openai", "anthropic", "google"])
def test_retry_after_in_seconds_is_kept(wire, loopback):
    loopback.answers(429, {"error": {"message": "slow down"}}, retry_after="7")
    error = failing(wire, loopback)
    assert error.retry_after == 7
    assert error.headers["retry-after"] == "7"


def test_retry_after_in_milliseconds_goes_first(loopback):
    loopback.answers(429, {"error": {}}, retry_after="7", retry_after_ms="250")
    assert failing("openai", loopback).retry_after == 0.25


def test_retry_after_as_a_date_is_the_time_until_then(loopback):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    loopback.answers(429, {"error": {}}, retry_after=later)
    assert 50 < failing("openai", loopback).retry_after <= 60


@pytest.mark.parametrize("stated", ["soon", "-1", "nan", "inf", "", "Mon, 99 Foo 2020"])
def test_a_retry_after_that_means_nothing_is_none(stated):
    assert retry_after_s({"retry-after": stated}) is None


def test_a_retry_after_in_the_past_is_no_wait():
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_an_exhausted_quota_is_not_retryable(loopback):
    loopback.answers(429, {"error": {"message": "no money", "code": "insufficient_quota"}})
    error = failing("openai", loopback)
    assert isinstance(error, RateLimitError)
    assert not error.retryable


@pytest.mark.parametrize("wire", ALL)
def test_a_server_that_is_not_there_is_unavailable(wire):
    with pytest.raises(ModelUnavailableError) as caught:
        asking(wire, "http://127.0.0.1:9").run_sync("Hi")
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai:gpt-5", "OPENAI_API_KEY"),
        ("anthropic:claude-opus-5", "ANTHROPIC_API_KEY"),
        ("google:gemini-3", "GOOGLE_API_KEY"),
    ],
)
def test_a_missing_key_is_named_before_anything_is_sent(model, variable):
    with pytest.raises(AuthenticationError, match=variable):
        LLMPrimitive(model).run_sync("Hi")


def test_the_key_is_read_from_the_environment(loopback, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    loopback.answers(400, {})
    failing("openai", loopback, api_key=None)
    headers = {name.lower(): value for name, value in loopback.requests[0][1].items()}
    assert headers["authorization"] == "Bearer from-the-environment"


def test_settings_go_along_with_the_request(loopback):
    loopback.answers(400, {})
    failing("openai", loopback, temperature=0.5, seed=3, stop=["x"], top_p=0.9)
    body = loopback.requests[0][2]
    sent = {key: body[key] for key in ("temperature", "seed", "stop", "top_p")}
    assert sent == {"temperature": 0.5, "seed": 3, "stop": ["x"], "top_p": 0.9}
